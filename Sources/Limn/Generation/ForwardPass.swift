import LimnFiles
import LimnTensor

/// One forward pass over chunks of several sequences, one layer at a time, so that between two layers the engine can do
/// something else and a long prompt makes nobody wait.
// Not Sendable: it lives in the engine's actor.
final class ForwardPass {
  let chunks: [Chunk]
  /// The number of tokens in all chunks.
  let rows: Int
  private(set) var layer = 0
  private let model: any LanguageModel
  let memory: PassMemory
  private let segments: [Segment]
  private let decodeRows: Int
  private let wanted: Int
  /// The hidden states and the backend that holds them; after the last layer, only those of the wanted rows.
  private var x: Activations
  private var device: Int

  /// - Parameter chunks: decode chunks first.
  init(_ chunks: [Chunk], _ model: any LanguageModel, _ memory: PassMemory) {
    self.chunks = chunks
    self.model = model
    self.memory = memory
    rows = chunks.reduce(0) { $0 + $1.count }
    wanted = chunks.reduce(0) { $0 + $1.wanted }
    device = model.placement.tables
    let x = memory.devices[device].scratch.take(rows: rows, width: model.config.hidden)
    var segments: [Segment] = []
    var row = 0, decodeRows = 0
    for chunk in chunks {
      let rows = row..<row + chunk.count
      switch chunk.input {
      case .prompt(let prompt, let part): prompt.write(part, into: x.rows(rows), model)
      case .decode:
        chunk.sequence?.withTokens { model.embed($0, into: x.rows(rows)) }
        decodeRows = rows.upperBound
      }
      segments.append(
        Segment(
          cache: chunk.cache, rows: rows, wanted: chunk.wanted, position: chunk.cache.count,
          expectedLength: chunk.expectedLength, adapters: chunk.adapters))
      row = rows.upperBound
    }
    self.x = x
    self.segments = segments
    self.decodeRows = decodeRows
  }

  var layersLeft: Int { model.layerCount - layer }

  /// Whether all of its sequences have ended or were told to.
  var isAbandoned: Bool {
    chunks.allSatisfy { chunk in chunk.sequence.map { $0.ending != nil || $0.isStopRaised } ?? false }
  }

  /// Computes the next `count` layers. An abandoned pass skips them, after which its results must not be used.
  func advance(layers count: Int = 1) {
    let end = min(model.layerCount, layer + count)
    while layer < end {
      move(to: model.placement.layers[layer])
      // Consecutive layers on one backend are submitted together.
      let run = layer..<(model.placement.layers[layer..<end].firstIndex { $0 != device } ?? end)
      let on = memory.devices[device]
      let step = Step(
        backend: on.backend, scratch: on.scratch, segments: segments, decodeRows: decodeRows,
        isAbandoned: { self.isAbandoned })
      on.backend.submit {
        for layer in run {
          let isLast = layer == model.layerCount - 1
          let hidden = isLast ? on.scratch.take(rows: wanted, width: x.width) : nil
          model.forward(x, layer: layer, step, wanted: hidden)
          if let hidden { x = hidden }
        }
      }
      layer = run.upperBound
    }
  }

  /// After the last layer: counts the positions as computed, and calls `body` chunk by chunk with the logits of the
  /// wanted rows, [chunk.wanted · vocabulary], which it may overwrite.
  func finish(_ body: (Chunk, UnsafeMutableBufferPointer<Float>) -> Void) {
    let vocabulary = model.config.vocabulary
    finish(width: vocabulary, model.logits) { values in
      var row = 0
      for chunk in chunks {
        body(
          chunk, UnsafeMutableBufferPointer(rebasing: values[row * vocabulary..<(row + chunk.wanted) * vocabulary]))
        row += chunk.wanted
      }
    }
  }

  /// The same with the hidden states after the final norm, [wanted · hidden], in place of logits.
  func finishHidden(_ body: (UnsafeMutableBufferPointer<Float>) -> Void) {
    finish(width: model.config.hidden, model.normalise, body)
  }

  private func finish(
    width: Int, _ compute: (Activations, Activations, Step) -> Void,
    _ body: (UnsafeMutableBufferPointer<Float>) -> Void
  ) {
    precondition(layersLeft == 0)
    for chunk in chunks { chunk.cache.count += chunk.count }
    memory.withLogits(count: wanted * width) { values in
      if wanted > 0 {
        move(to: model.placement.tables)
        let on = memory.devices[device]
        on.scratch.frame {
          let results = on.scratch.take(rows: wanted, width: width)
          on.backend.submit { compute(x, results, Step(backend: on.backend, scratch: on.scratch)) }
          on.backend.read(results, into: values)
        }
      }
      body(values)
    }
  }

  /// Copies the hidden states where a pass moves from one backend to another.
  private func move(to target: Int) {
    guard target != device else { return }
    let y = memory.devices[target].scratch.take(rows: x.rows, width: x.width)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: x.count) { values in
      memory.devices[device].backend.read(x, into: values)
      memory.devices[target].backend.write(UnsafeBufferPointer(values), to: y)
    }
    (x, device) = (y, target)
  }
}

/// The memory of one pass, reused by later ones.
// Not Sendable: one pass at a time owns it.
final class PassMemory {
  let devices: [Device]
  private var logits: [Float] = []

  init(_ placement: Placement) { devices = placement.backends.map { Device($0) } }

  /// With backends that stand in for the model's own and share their memory.
  init(_ backends: [any Backend]) { devices = backends.map { Device($0) } }

  func withLogits(count: Int, _ body: (UnsafeMutableBufferPointer<Float>) -> Void) {
    if logits.count < count { logits = [Float](repeating: 0, count: count) }
    logits.withUnsafeMutableBufferPointer { body(UnsafeMutableBufferPointer(rebasing: $0[..<count])) }
  }

  func reset() { for device in devices { device.scratch.reset() } }
}
