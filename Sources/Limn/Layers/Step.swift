package import LimnTensor

/// One sequence's part of a step: which rows of the activations are its tokens, and where they stand.
package struct Segment {
  package let cache: KVCache
  /// Rows of the step's activations.
  package let rows: Range<Int>
  /// Position of the first of those rows; also how many positions the cache holds before the step.
  package let position: Int
  /// Positions that the whole sequence will need as far as known, for models whose rotary embedding depends on it.
  package let expectedLength: Int

  package init(cache: KVCache, rows: Range<Int>, position: Int, expectedLength: Int) {
    self.cache = cache
    self.rows = rows
    self.position = position
    self.expectedLength = expectedLength
  }
}

/// What every layer of one forward pass needs: the operations, working memory, and whose tokens the rows are.
package struct Step {
  package let backend: any Backend
  package let scratch: Scratch
  /// Of the language model; none in a vision tower.
  package let segments: [Segment]
  /// So many rows, the first ones, are prompts' (or patches); those after them are answers'.
  package let promptRows: Int

  package init(
    backend: any Backend, scratch: Scratch, segments: [Segment] = [], promptRows: Int = .max
  ) {
    self.backend = backend
    self.scratch = scratch
    self.segments = segments
    self.promptRows = promptRows
  }

  /// y = layer(x), or y += that; x [rows of the step, inputs], y [rows, outputs].
  package func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool = false) {
    let prompts = min(promptRows, x.rows)
    if prompts > 0 {
      backend.linear(x.rows(0..<prompts), layer, into: y.rows(0..<prompts), adding: adding, tokens: .prompt)
    }
    if prompts < x.rows {
      let answers = prompts..<x.rows
      backend.linear(x.rows(answers), layer, into: y.rows(answers), adding: adding, tokens: .answer)
    }
  }
}
