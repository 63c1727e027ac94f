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
  /// So many rows, the first ones, are answers'; those after them are prompts' (or patches).
  package let answerRows: Int

  package init(backend: any Backend, scratch: Scratch, segments: [Segment] = [], answerRows: Int = 0) {
    self.backend = backend
    self.scratch = scratch
    self.segments = segments
    self.answerRows = answerRows
  }

  /// y = layer(x), or y += that; x [rows of the step, inputs], y [rows, outputs].
  package func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool = false) {
    let answers = 0..<min(answerRows, x.rows), prompts = answers.upperBound..<x.rows
    if !answers.isEmpty {
      backend.linear(x.rows(answers), layer, into: y.rows(answers), adding: adding, tokens: .answer)
    }
    if !prompts.isEmpty {
      backend.linear(x.rows(prompts), layer, into: y.rows(prompts), adding: adding, tokens: .prompt)
    }
  }

  /// A sequence either reads or answers.
  package func kind(of segment: Segment) -> TokenKind {
    segment.rows.upperBound <= answerRows ? .answer : .prompt
  }
}
