package import Limn
package import LimnCore
package import LimnFiles
package import LimnTensor
import Synchronization

/// A language model without weights, whose next token is a function of everything before it.
///
/// It stores its input in its cache, as a real model stores keys, and computes each token from there: if a cache is
/// wrongly cut, copied, shared or overwritten, the answer changes.
package struct ScriptedModel: LanguageModel {
  package static let vocabulary = 64
  /// Heads are rotated in pairs of values, so two is the narrowest; the first value holds the token.
  private static let width = 2

  package let config: LanguageConfig
  package let placement: Placement
  private let next: @Sendable ([Int32]) -> Int32
  /// Counts the time that its work takes. Only this clock knows that time, so no test depends on how busy the machine
  /// is.
  package let clock: Clock

  /// Time that passes only while a scripted model computes.
  package final class Clock: Sendable {
    private struct State {
      var seconds = 0.0
      var layers = 0
      var decodeSteps: [Double] = []
      var onLayer: (@Sendable (Int) -> Void)?
    }

    private let state = Mutex(State())
    private let secondsPerRow: Double

    /// - Parameter secondsPerRow: the time of one row in one layer.
    package init(secondsPerRow: Double = 0) { self.secondsPerRow = secondsPerRow }

    package var seconds: Double { state.withLock { $0.seconds } }
    /// When each decode step ended.
    package var decodeSteps: [Double] { state.withLock { $0.decodeSteps } }
    /// The number of layers computed, over all passes together.
    package var layers: Int { state.withLock { $0.layers } }

    /// Calls `action` before each layer, with the number of layers computed so far.
    package func onLayer(_ action: @escaping @Sendable (Int) -> Void) { state.withLock { $0.onLayer = action } }

    fileprivate func compute(rows: Int) {
      let (action, layers) = state.withLock { ($0.onLayer, $0.layers) }
      action?(layers)
      state.withLock { state in
        state.seconds += secondsPerRow * Double(rows)
        state.layers += 1
      }
    }

    fileprivate func endDecodeStep() { state.withLock { $0.decodeSteps.append($0.seconds) } }
  }

  /// - Parameters:
  ///   - layers: how many layers a pass has, and so how often it can be interrupted.
  ///   - next: the token that follows the given ones; by default a hash of them.
  package init(
    layers: Int = 4, clock: Clock = Clock(), on backend: any Backend,
    next: @escaping @Sendable ([Int32]) -> Int32 = ScriptedModel.hash
  ) throws(LimnError) {
    config = try ModelConfig(
      json: .object([
        "model_type": .string("llama"), "hidden_size": .integer(Self.width), "intermediate_size": .integer(1),
        "num_hidden_layers": .integer(layers), "num_attention_heads": .integer(1),
        "num_key_value_heads": .integer(1), "head_dim": .integer(Self.width), "vocab_size": .integer(Self.vocabulary),
        "max_position_embeddings": .integer(1 << 16), "rms_norm_eps": .number(1e-5),
      ]), place: "the scripted model"
    ).language
    placement = Placement(backend, layers: layers)
    self.clock = clock
    self.next = next
  }

  package init(
    _ config: LanguageConfig, _ weights: inout WeightReader, context: Int, placement: Placement
  ) throws(LimnError) {
    preconditionFailure("a scripted model has no checkpoint")
  }

  /// A hash of every token and its place.
  package static func hash(_ tokens: [Int32]) -> Int32 {
    var hash: UInt64 = 1469
    for token in tokens { hash = (hash ^ UInt64(bitPattern: Int64(token))) &* 0x100_0000_01B3 }
    return Int32(hash >> 32 & 0xFFFF) % Int32(vocabulary)
  }

  /// The tokens that follow a prompt by the model's definition.
  package func answer(to prompt: [Int32], count: Int) -> [Int32] {
    var tokens = prompt
    for _ in 0..<count { tokens.append(next(tokens)) }
    return Array(tokens[prompt.count...])
  }

  package func embed(_ ids: UnsafeBufferPointer<Int32>, into x: Activations) {
    for (row, id) in ids.enumerated() {
      (x.pointer[Self.width * row], x.pointer[Self.width * row + 1]) = (Float(id), 0)
    }
  }

  package func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?) {
    clock.compute(rows: x.rows)
    if step.isAbandoned() { return }
    for segment in step.segments {
      let rows = x.rows(segment.rows)
      step.backend.store(keys: rows, values: rows, in: segment.cache, layer: layer, position: segment.position)
    }
    guard let wanted else { return }
    if step.decodeRows > 0 { clock.endDecodeStep() }
    var row = 0
    for segment in step.segments where segment.wanted > 0 {
      let end = segment.position + segment.rows.count
      for position in end - segment.wanted..<end {
        let keys = segment.cache.keys(layer: position % config.layers).pointer.assumingMemoryBound(to: Float.self)
        wanted.pointer[Self.width * row] = Float(next((0...position).map { Int32(keys[Self.width * $0]) }))
        row += 1
      }
    }
  }

  package func normalise(_ hidden: Activations, into normed: Activations, _ step: Step) {
    for index in 0..<hidden.count { normed.pointer[index] = hidden.pointer[index] }
  }

  package func logits(_ hidden: Activations, into logits: Activations, _ step: Step) {
    for row in 0..<hidden.rows {
      for id in 0..<logits.width {
        logits.pointer[row * logits.width + id] = id == Int(hidden.pointer[Self.width * row]) ? 9 : 0
      }
    }
  }
}

extension SequenceHandle {
  /// Everything that a sequence generated.
  package struct Said: Sendable, Equatable {
    package var tokens: [Int32] = []
    package var times: [ContinuousClock.Instant] = []
    package var drafted = 0
    package var accepted = 0
    /// Positions that were in the cache before its prompt was computed.
    package var reused: Int?
    package var ending: SequenceEnding?
  }

  /// - Parameter token: called after each token with everything so far; returning false stops the sequence.
  package func said(_ token: @Sendable (Said) -> Bool = { _ in true }) async -> Said {
    var said = Said()
    for await event in events {
      switch event {
      case .prefill(let done, _): said.reused = said.reused ?? done
      case .choices(let choices, let time):
        for choice in choices where said.ending == nil {
          said.tokens.append(choice.id)
          said.times.append(time)
          if !token(said) {
            stop()
            said.ending = .cancelled
          }
        }
      case .drafted(let count, let accepted):
        said.drafted += count
        said.accepted += accepted
      case .ended(let ending): said.ending = said.ending ?? ending
      }
    }
    return said
  }
}

extension Engine {
  /// Generates sequences together, and returns them when all have ended.
  package func said(_ requests: [SequenceRequest]) async throws -> [SequenceHandle.Said] {
    let handles = try generate(requests)
    return await withTaskGroup(of: (Int, SequenceHandle.Said).self) { group in
      for (index, handle) in handles.enumerated() { group.addTask { (index, await handle.said()) } }
      var all = [SequenceHandle.Said](repeating: .init(), count: handles.count)
      for await (index, said) in group { all[index] = said }
      return all
    }
  }
}
