import LimnTensor
import Testing

/// The largest |a − b| / |b| where |b| is not tiny.
private func relativeError(_ a: [Float], _ b: [Double], above: Double = 1e-30) -> Double {
  zip(a, b).reduce(0) { abs($1.1) > above ? max($0, abs(Double($1.0) - $1.1) / abs($1.1)) : $0 }
}

@Suite struct OperationTests {
  @Test("norms agree with PyTorch", arguments: isas)
  func norms(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let x = Rows(try Fixture.floats("norm.x"), width: 84), y = Rows(rows: 3, width: 84)
    let weight = Vector(try Fixture.floats("norm.weight")), bias = Vector(try Fixture.floats("norm.bias"))
    cpu.rmsNorm(x.activations, weight: weight, epsilon: 1e-5, into: y.activations)
    let rms = try Fixture.doubles(floats: "norm.rms"), layer = try Fixture.doubles(floats: "norm.layer")
    #expect(distance(y.values, rms) < 1e-6)
    cpu.layerNorm(x.activations, weight: weight, bias: bias, epsilon: 1e-5, into: y.activations)
    #expect(distance(y.values, layer) < 1e-6)
    cpu.layerNorm(x.activations, weight: weight, bias: bias, epsilon: 1e-5, into: x.activations)
    #expect(x.values == y.values, "in place")
  }

  @Test("rotations agree with transformers, in halves and in adjacent pairs", arguments: isas)
  func rope(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let inverse = try Fixture.floats("rope.inverse")
    for (style, name) in [(RoPETable.Style.halves, "rope.halves"), (.adjacent, "rope.adjacent")] {
      let x = Rows(try Fixture.floats("rope.x"), width: 48)
      let table = RoPETable(inverseFrequencies: inverse, headSize: 16, positions: 7, style: style, on: cpu)
      cpu.rope(x.activations, heads: 3, firstPosition: 3, table: table)
      let expected = try Fixture.doubles(floats: name)
      #expect(distance(x.values, expected) < 1e-6)
    }
  }

  @Test("gelu and silu are within 2e-6 of their double-precision values", arguments: isas)
  func activations(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let values = try Fixture.floats("gelu.x")
    for (kind, name) in [(GELU.erf, "gelu.erf"), (.tanh, "gelu.tanh"), (.quick, "gelu.quick")] {
      let x = Rows(values, width: values.count)
      cpu.gelu(x.activations, kind)
      #expect(x.values.allSatisfy { $0.isFinite })
      // For large |x| the argument of exp is large, and half a unit in its last place is the whole error.
      let expected = try Fixture.doubles(name)
      #expect(relativeError(x.values, expected, above: 1e-6) < 2e-6, "\(kind)")
      #expect(relativeError(x.values, expected) < 2e-5, "\(kind)")
    }
    let gate = Rows(values, width: values.count)
    cpu.siluMultiply(gate.activations, Rows(values.map { _ in 2 }, width: values.count).activations)
    let expected = try Fixture.doubles("gelu.silu").map { $0 * 2 }
    #expect(relativeError(gate.values, expected) < 2e-6)
  }

  @Test("an element's result does not depend on its position", arguments: isas)
  func placeOfElement(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let values = Random(4).copyFloats(37).map { $0 * 5 }
    let whole = Rows(values, width: 37), single = Rows(values, width: 1)
    cpu.gelu(whole.activations, .erf)
    for i in 0..<37 { cpu.gelu(single.activations.rows(i..<i + 1), .erf) }
    #expect(whole.values == single.values)
  }

  @Test("adding rows gives elementwise sums", arguments: isas)
  func add(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let a = Random(1).copyFloats(30_000), b = Random(2).copyFloats(30_000)
    let y = Rows(a, width: 100)
    cpu.add(Rows(b, width: 100).activations, into: y.activations)
    #expect(y.values == zip(a, b).map(+))
  }
}
