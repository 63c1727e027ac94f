package import LimnTensor

/// One sequence's part of a step: which rows of the activations are its tokens, and where they stand.
package struct Segment {
  package let cache: KVCache
  /// Rows of the step's activations.
  package let rows: Range<Int>
  /// Of how many of them, the last ones, what comes out of the last layer is wanted.
  package let wanted: Int
  /// Position of the first of those rows; also how many positions the cache holds before the step.
  package let position: Int
  /// Positions that the whole sequence will need as far as known, for models whose rotary embedding depends on it.
  package let expectedLength: Int

  package init(cache: KVCache, rows: Range<Int>, wanted: Int, position: Int, expectedLength: Int) {
    self.cache = cache
    self.rows = rows
    self.wanted = wanted
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
  package let decodeRows: Int

  package init(backend: any Backend, scratch: Scratch, segments: [Segment] = [], decodeRows: Int = 0) {
    self.backend = backend
    self.scratch = scratch
    self.segments = segments
    self.decodeRows = decodeRows
  }

  /// y = layer(x), or y += that; x [rows of the step, inputs], y [rows, outputs].
  package func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool = false) {
    let answers = 0..<min(decodeRows, x.rows), prompts = answers.upperBound..<x.rows
    if !answers.isEmpty {
      backend.linear(x.rows(answers), layer, into: y.rows(answers), adding: adding, phase: .decode)
    }
    if !prompts.isEmpty {
      backend.linear(x.rows(prompts), layer, into: y.rows(prompts), adding: adding, phase: .prefill)
    }
  }

  /// What the last layer does once keys and values are stored: `body` works on the wanted rows of x, which are copied to
  /// `wanted`, of `normed`, and on a step for them alone. Other layers (nil) need all rows.
  package func narrowed(
    _ x: Activations, _ normed: Activations, to wanted: Activations?,
    _ body: (_ x: Activations, _ normed: Activations, _ step: Step) -> Void
  ) {
    guard let wanted else { return body(x, normed, self) }
    guard wanted.rows > 0 else { return }
    let wantedNormed = scratch.take(rows: wanted.rows, width: normed.width)
    var row = 0, answers = 0
    var narrow: [Segment] = []
    for segment in segments where segment.wanted > 0 {
      let last = segment.rows.suffix(segment.wanted), rows = row..<row + segment.wanted
      wanted.rows(rows).copy(x.rows(last))
      wantedNormed.rows(rows).copy(normed.rows(last))
      row = rows.upperBound
      if phase(of: segment) == .decode { answers = row }
      narrow.append(
        Segment(
          cache: segment.cache, rows: rows, wanted: segment.wanted,
          position: segment.position + segment.rows.count - segment.wanted,
          expectedLength: segment.expectedLength))
    }
    body(wanted, wantedNormed, Step(backend: backend, scratch: scratch, segments: narrow, decodeRows: answers))
  }

  /// A sequence either reads or answers.
  package func phase(of segment: Segment) -> Phase {
    segment.rows.upperBound <= decodeRows ? .decode : .prefill
  }
}
