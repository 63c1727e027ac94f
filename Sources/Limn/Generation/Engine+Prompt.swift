package import LimnCore
import LimnFiles
package import LimnTensor

/// What can be read off a prompt without an answer to it.
extension Engine {
  /// The logits of every position of a prompt: [positions][vocabulary].
  package func logits(of prompt: PromptInputs, adapters: [Int] = []) throws(LimnError) -> [[Float]] {
    var result: [[Float]] = []
    try compute(prompt, adapters, PassMemory(model.language.placement)) { logits, rows in
      let width = logits.count / rows
      for row in 0..<rows { result.append(Array(logits[row * width..<(row + 1) * width])) }
    }
    return result
  }

  /// How much the positions of a prompt attend to its images.
  /// - Returns: [layers, heads, positions, image positions]; 0 where an image comes after the position.
  package func attention(
    of prompt: PromptInputs, adapters: [Int] = [], layers: Range<Int>? = nil, heads: Range<Int>? = nil,
    positions: Range<Int>? = nil
  ) throws(LimnError) -> (values: [Float], shape: [Int]) {
    let config = model.language.config
    let target = Probe.Target(
      layers: layers ?? 0..<config.layers, heads: heads ?? 0..<config.heads, queries: positions ?? 0..<prompt.count,
      keys: prompt.imagePositions)
    let probes = model.language.placement.backends.map { Probe($0, watching: target) }
    try compute(prompt, adapters, PassMemory(probes)) { _, _ in }
    let maps = probes.map(\.attention)
    let sum = maps.dropFirst().reduce(maps[0]) { zip($0, $1).map(+) }
    return (sum, [target.layers.count, target.heads.count, target.queries.count, target.keys.count])
  }

  /// The mean of a prompt's hidden states after the final norm, scaled to length 1: [hidden]. Sequences go on meanwhile,
  /// a slice of theirs for each layer of this.
  package func pooled(_ prompt: PromptInputs, adapters: [Int] = []) async throws(LimnError) -> [Float] {
    let memory = PassMemory(model.language.placement)
    let cache = try model.language.makeCache(capacity: prompt.count, storage: storage)
    var sums = [Double](repeating: 0, count: model.language.config.hidden)
    while cache.count < prompt.count {
      // Short passes, so that a layer of one takes no longer than others can wait.
      let pass = nextPass(over: prompt, cache, adapters, memory, atMost: 128)
      while pass.layersLeft > 0 {
        if Task.isCancelled { throw Self.stopped }
        pass.advance()
        await Task.yield()
      }
      pass.finishHidden { states in
        for index in states.indices { sums[index % sums.count] += Double(states[index]) }
      }
    }
    let length = sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return sums.map { Float($0 / max(length, 1e-30)) }
  }

  /// Computes a whole prompt from its beginning, without other sequences; `body` receives the logits of each pass,
  /// [rows · vocabulary].
  private func compute(
    _ prompt: PromptInputs, _ adapters: [Int], _ memory: PassMemory,
    _ body: (UnsafeMutableBufferPointer<Float>, Int) -> Void
  ) throws(LimnError) {
    let cache = try model.language.makeCache(capacity: prompt.count, storage: storage)
    while cache.count < prompt.count {
      let pass = nextPass(over: prompt, cache, adapters, memory, atMost: limits.scheduler.maxRows)
      while pass.layersLeft > 0 {
        if Task.isCancelled { throw Self.stopped }
        pass.advance()
      }
      pass.finish { chunk, logits in body(logits, chunk.wanted) }
    }
  }

  /// A pass over the next positions of a prompt, all of whose results are wanted.
  private func nextPass(
    over prompt: PromptInputs, _ cache: KVCache, _ adapters: [Int], _ memory: PassMemory, atMost rows: Int
  ) -> ForwardPass {
    let part = cache.count..<min(cache.count + rows, prompt.count)
    memory.reset()
    let chunk = Chunk(
      sequence: nil, cache: cache, input: .prompt(prompt, part), count: part.count, expectedLength: prompt.count,
      wanted: part.count, adapters: adapters)
    return ForwardPass([chunk], model.language, memory)
  }
}
