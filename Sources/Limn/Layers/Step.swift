package import LimnTensor

/// One sequence's part of a step: which rows of the activations are its tokens, and at which positions.
package struct Segment {
  package let cache: KVCache
  /// The sequence's rows in the step's activations.
  package let rows: Range<Int>
  /// How many of these rows, counted from the end, need the output of the last layer.
  package let wanted: Int
  /// The position of the first row; this many positions are in the cache before the step.
  package let position: Int
  /// How many positions the whole sequence will need, as far as known; some rotary embeddings depend on it.
  package let expectedLength: Int
  /// The adapters that this sequence uses, by their index among those loaded with the model.
  package let adapters: [Int]

  package init(
    cache: KVCache, rows: Range<Int>, wanted: Int, position: Int, expectedLength: Int, adapters: [Int] = []
  ) {
    self.cache = cache
    self.rows = rows
    self.wanted = wanted
    self.position = position
    self.expectedLength = expectedLength
    self.adapters = adapters
  }
}

/// What every layer of one forward pass needs: the operations, working memory, and which rows belong to which sequence.
package struct Step {
  package let backend: any Backend
  package let scratch: Scratch
  /// The language model's sequences; empty in a vision tower.
  package let segments: [Segment]
  /// The first rows, this many, are decode rows; those after them are prefill rows (or patches).
  package let decodeRows: Int
  /// Whether nobody waits for the results any more. Then products are skipped, and what the pass has computed is
  /// worthless: a long prompt ends within one product, not one layer.
  package let isAbandoned: () -> Bool

  package init(
    backend: any Backend, scratch: Scratch, segments: [Segment] = [], decodeRows: Int = 0,
    isAbandoned: @escaping () -> Bool = { false }
  ) {
    self.backend = backend
    self.scratch = scratch
    self.segments = segments
    self.decodeRows = decodeRows
    self.isAbandoned = isAbandoned
  }

  /// y = layer(x), or y += layer(x); x [rows of the step, inputs], y [rows, outputs].
  package func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool = false) {
    if isAbandoned() { return }
    let decode = 0..<min(decodeRows, x.rows), prefill = decode.upperBound..<x.rows
    if !decode.isEmpty {
      backend.linear(x.rows(decode), layer, into: y.rows(decode), adding: adding, phase: .decode)
    }
    if !prefill.isEmpty {
      backend.linear(x.rows(prefill), layer, into: y.rows(prefill), adding: adding, phase: .prefill)
    }
    for adapter in layer.adapters {
      guard let index = adapter.adapter else {
        add(adapter, decode, .decode, x, to: y)
        add(adapter, prefill, .prefill, x, to: y)
        continue
      }
      for segment in segments where segment.adapters.contains(index) {
        add(adapter, segment.rows, phase(of: segment), x, to: y)
      }
    }
  }

  /// y += b(a(x)) for rows that are all in one phase.
  private func add(_ adapter: LowRank, _ rows: Range<Int>, _ phase: Phase, _ x: Activations, to y: Activations) {
    if rows.isEmpty { return }
    scratch.frame {
      let inner = scratch.take(rows: rows.count, width: adapter.a.outputs)
      backend.linear(x.rows(rows), adapter.a, into: inner, adding: false, phase: phase)
      backend.linear(inner, adapter.b, into: y.rows(rows), adding: true, phase: phase)
    }
  }

  /// Runs the part of a layer that follows the storing of keys and values. In the last layer only some rows are wanted:
  /// `body` gets these rows of x, copied to `wanted`, and of `normed`, with a step for them alone. In other layers
  /// (`wanted` is nil) it gets all rows.
  package func narrowed(
    _ x: Activations, _ normed: Activations, to wanted: Activations?,
    _ body: (_ x: Activations, _ normed: Activations, _ step: Step) -> Void
  ) {
    guard let wanted else { return body(x, normed, self) }
    guard wanted.rows > 0 else { return }
    let wantedNormed = scratch.take(rows: wanted.rows, width: normed.width)
    var row = 0, decodeRows = 0
    var narrow: [Segment] = []
    for segment in segments where segment.wanted > 0 {
      let last = segment.rows.suffix(segment.wanted), rows = row..<row + segment.wanted
      backend.copy(x.rows(last), into: wanted.rows(rows))
      backend.copy(normed.rows(last), into: wantedNormed.rows(rows))
      row = rows.upperBound
      if phase(of: segment) == .decode { decodeRows = row }
      narrow.append(
        Segment(
          cache: segment.cache, rows: rows, wanted: segment.wanted,
          position: segment.position + segment.rows.count - segment.wanted,
          expectedLength: segment.expectedLength, adapters: segment.adapters))
    }
    body(
      wanted, wantedNormed,
      Step(
        backend: backend, scratch: scratch, segments: narrow, decodeRows: decodeRows, isAbandoned: isAbandoned))
  }

  /// A sequence is in one phase at a time.
  package func phase(of segment: Segment) -> Phase {
    segment.rows.upperBound <= decodeRows ? .decode : .prefill
  }

  /// The same rows on another backend.
  package func on(_ device: Device) -> Step {
    Step(
      backend: device.backend, scratch: device.scratch, segments: segments, decodeRows: decodeRows,
      isAbandoned: isAbandoned)
  }
}

/// A backend, and the working memory of the pass that runs on it.
package struct Device {
  package let backend: any Backend
  package let scratch: Scratch

  package init(_ backend: any Backend) {
    self.backend = backend
    scratch = Scratch(backend)
  }
}
