import Foundation
import LimnCore
import LimnTensor
import Testing

/// The arrays that Tools/fixtures/kernels.py writes.
enum Fixture {
  static func bytes(_ name: String) throws -> [UInt8] {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/kernels/\(name).npy")
    let data = try Data(contentsOf: file)
    let header = Int(data[8]) | Int(data[9]) << 8
    return [UInt8](data[(10 + header)...])
  }

  static func floats(_ name: String) throws -> [Float] { try values(name) }
  static func doubles(_ name: String) throws -> [Double] { try values(name) }
  /// Floats in the file, Doubles here.
  static func doubles(floats name: String) throws -> [Double] { try floats(name).map(Double.init) }
  static func halves(_ name: String) throws -> [Float] { (try values(name) as [UInt16]).map(float(half:)) }

  private static func values<Value>(_ name: String) throws -> [Value] {
    try bytes(name).withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<Value>.stride).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Value>.stride, as: Value.self)
      }
    }
  }
}

/// The value of a finite float16.
func float(half bits: UInt16) -> Float {
  let exponent = Int(bits >> 10 & 31), fraction = Float(bits & 1023)
  let magnitude =
    exponent == 0
    ? fraction * 0x1p-24 : (1 + fraction / 1024) * Float(sign: .plus, exponent: exponent - 15, significand: 1)
  return bits >> 15 == 1 ? -magnitude : magnitude
}

/// Random numbers that are the same in every run.
struct Random: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  // SplitMix64, https://prng.di.unimi.it/splitmix64.c (public domain).
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform over ±range.
  mutating func floats(_ count: Int, _ range: Float = 1) -> [Float] {
    (0..<count).map { _ in Float.random(in: -range...range, using: &self) }
  }
}

/// Rows of activations in memory that is never freed: views do not keep it alive, and tests need little.
struct Rows {
  let activations: Activations

  init(_ values: [Float], width: Int) {
    let pointer = UnsafeMutablePointer<Float>.allocate(capacity: max(1, values.count))
    pointer.initialize(from: values, count: values.count)
    activations = Activations(pointer: pointer, rows: values.count / width, width: width)
  }

  init(rows: Int, width: Int) {
    self.init([Float](repeating: .nan, count: rows * width), width: width)
  }

  var values: [Float] {
    Array(UnsafeBufferPointer(start: activations.pointer, count: activations.rows * activations.width))
  }
}

func tensor(_ type: TensorType, _ shape: [Int], _ bytes: [UInt8]) -> Tensor {
  let memory = try! Memory(count: bytes.count) { (buffer) throws(LimnError) in buffer.copyBytes(from: bytes) }
  return Tensor(type: type, shape: shape, memory: memory, range: 0..<bytes.count)
}

/// Every type that the kernels compute with.
let ggmlTypes: [TensorType] = [
  .f32, .f16, .bf16, .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_NL, .iq4_XS,
  .iq2_XXS, .iq2_XS, .iq2_S, .iq3_XXS, .iq3_S, .iq1_S, .iq1_M, .tq1_0, .tq2_0, .mxfp4, .nvfp4,
]

/// The same plus bitsandbytes' types in limn's blocks.
let computableTypes: [TensorType] =
  ggmlTypes + [.nf4, .nf4_F16, .nf4_BF16, .fp4, .fp4_F16, .fp4_BF16, .llmInt8]

/// Offsets of a block's float16 scales, if not in its first two bytes.
private let scalePlaces: [TensorType: [Int]] = [
  .q4_1: [0, 2], .q5_1: [0, 2], .q2_K: [80, 82], .q3_K: [108], .q4_K: [0, 2], .q5_K: [0, 2], .q6_K: [208],
  .tq1_0: [52], .tq2_0: [64], .iq1_M: [], .mxfp4: [], .nvfp4: [],
]

/// Random weights [rows, columns] of any type, with a magnitude that layers have: scales are finite and
/// moderate, and the first rows have scales of zero and the largest magnitudes.
func randomWeight(_ type: TensorType, rows: Int, columns: Int, seed: UInt64) -> Tensor {
  var random = Random(seed)
  let layout = type.layout
  var bytes: [UInt8] = []
  for block in 0..<rows * columns / layout.elements {
    // Between 2⁻⁹ and 2⁻⁷ with either sign; occasionally zero.
    let half: UInt16 = random.next() % 11 == 0 ? 0 : UInt16(random.next() & 0x87FF) | 0x1800
    let scale = [UInt8(half & 255), UInt8(half >> 8)]
    switch type {
    case .f32:
      let value = Float.random(in: -1...1, using: &random).bitPattern
      bytes += (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    case .f16: bytes += [UInt8(truncatingIfNeeded: random.next()), UInt8(random.next() & 0x83) | 0x34]
    case .bf16:
      let value = Float.random(in: -1...1, using: &random).bitPattern
      bytes += [UInt8(truncatingIfNeeded: value >> 16), UInt8(value >> 24)]
    case .nf4, .nf4_F16, .nf4_BF16, .fp4, .fp4_F16, .fp4_BF16, .llmInt8:
      let largest = random.next() % 11 == 0 ? 0 : Float.random(in: -0.2...2, using: &random)
      bytes += withUnsafeBytes(of: largest.bitPattern.littleEndian, Array.init)
      bytes += (4..<layout.bytes).map { _ in
        block < 3 ? UInt8([0, 255, 128][block]) : UInt8(truncatingIfNeeded: random.next())
      }
    default:
      var data = (0..<layout.bytes).map { _ in
        block < 3 ? UInt8([0, 255, 128][block]) : UInt8(truncatingIfNeeded: random.next())
      }
      for place in scalePlaces[type] ?? [0] { data.replaceSubrange(place..<place + 2, with: scale) }
      switch type {
      case .iq1_M:  // a quarter of the scale is in the top bits of each of four numbers
        for i in 0..<4 { data[49 + 2 * i] = data[49 + 2 * i] & 15 | UInt8(half >> (4 * i) & 15) << 4 }
      case .mxfp4: data[0] = 118 + UInt8(half & 3)
      case .nvfp4: for i in 0..<4 { data[i] &= 63 }
      default: break
      }
      bytes += data
    }
  }
  return tensor(type, [rows, columns], bytes)
}

/// The largest |a − b|, relative to b's root mean square.
func distance(_ a: [Float], _ b: [Double]) -> Double {
  precondition(a.count == b.count && !a.isEmpty)
  let size = (b.reduce(0) { $0 + $1 * $1 } / Double(b.count)).squareRoot()
  return zip(a, b).reduce(0) { max($0, abs(Double($1.0) - $1.1)) } / size
}

/// 1 − the cosine of the angle between two vectors.
func angle(_ a: [Float], _ b: [Float]) -> Double {
  var ab = 0.0, aa = 0.0, bb = 0.0
  for (x, y) in zip(a, b) {
    ab += Double(x) * Double(y)
    aa += Double(x) * Double(x)
    bb += Double(y) * Double(y)
  }
  return 1 - ab / (aa * bb).squareRoot()
}

/// The instruction sets that this machine can run.
let isas = ISA.allCases.filter(\.isSupported)
