import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnTensor
import LimnTesting
import Testing

/// How much positions of a prompt attend to its images, against transformers' `output_attentions` with eager attention.
@Suite struct AttentionMapTests {
  struct MapCase: Sendable, CustomTestStringConvertible {
    let name: String
    let shape: [Int]
    let tolerance: Double
    var testDescription: String { name }

    static let folder = ModelCase.root + "/../attention/"

    static let all: [MapCase] = {
      let rows = (try? JSON.parse(file: folder + "cases.json"))?.array ?? []
      return rows.map { row in
        MapCase(
          name: row["name"]?.string ?? "", shape: (row["shape"]?.array ?? []).compactMap(\.int),
          tolerance: row["tolerance"]?.double ?? 0)
      }
    }()
  }

  @Test("attention to the patches of images equals the reference's", arguments: MapCase.all)
  func reference(_ map: MapCase) async throws {
    let testCase = try ModelCase(map.name)
    let model = try await testCase.open()
    let images = try await model.encode(testCase.sources)
    let (values, shape) = try await model.attention(ids: testCase.inputIDs, images: images)
    #expect(shape == map.shape)
    let expected = try NumpyFile(MapCase.folder + map.name + ".npy").floats
    #expect(values.count == expected.count)
    let largest = zip(values, expected).map { abs(Double($0) - Double($1)) }.max() ?? .infinity
    #expect(largest <= map.tolerance, "\(largest)")
  }

  @Test("a map of some layers, heads and positions equals that part of the whole map, and 8-bit keys come close")
  func parts() async throws {
    let testCase = try ModelCase("llama-gqa-odd")
    let model = try await testCase.open()
    let images = try await model.encode(testCase.sources)
    let whole = try await model.attention(ids: testCase.inputIDs, images: images)
    let part = try await model.attention(
      ids: testCase.inputIDs, images: images, layers: 1..<2, heads: 3..<5, positions: 50..<61)
    #expect(part.shape == [1, 2, 11, 25])
    let (positions, patches) = (whole.shape[2], whole.shape[3])
    var expected: [Float] = []
    for head in 3..<5 {
      let start = ((1 * whole.shape[1] + head) * positions + 50) * patches
      expected += whole.values[start..<start + 11 * patches]
    }
    #expect(part.values == expected)
    let rough = try await testCase.open { $0.kvType = .q8_0 }
    let near = try await rough.attention(ids: testCase.inputIDs, images: images).values
    #expect(zip(near, whole.values).allSatisfy { abs($0 - $1) < 0.02 } && near != whole.values)
    await #expect(throws: LimnError.self) {
      try await model.attention(ids: testCase.inputIDs, images: images, layers: 2..<3)
    }
  }
}
