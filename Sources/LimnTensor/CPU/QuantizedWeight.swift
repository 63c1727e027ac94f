internal import CLimnKernels
package import LimnCore

/// A weight matrix whose codes and scales lie apart, as bitsandbytes, MLX, AWQ and GPTQ store it. `packed` combines them
/// into a format that the kernels multiply with.
package enum QuantizedWeight: Sendable {
  case fourBit(FourBitWeight)
  case int8(Int8Weight)
  case grouped(GroupedWeight)

  /// The shape of the matrix, [outputs, inputs].
  package var shape: [Int] {
    switch self {
    case .fourBit(let weight): weight.shape
    case .int8(let weight): weight.shape
    case .grouped(let weight): weight.shape
    }
  }

  /// "NF4", "FP4", "LLM.int8", "AWQ4", …
  package var name: String {
    switch self {
    case .fourBit(let weight): weight.code.rawValue.uppercased()
    case .int8: TensorType.llmInt8.rawValue
    case .grouped(let weight): weight.name
    }
  }

  /// The type that `packed` produces.
  package var packedType: TensorType {
    switch self {
    case .fourBit(let weight): weight.packedType
    case .int8(let weight): weight.packedType
    case .grouped(let weight): weight.packedType
    }
  }

  package var codes: Tensor {
    switch self {
    case .fourBit(let weight): weight.codes
    case .int8(let weight): weight.codes
    case .grouped(let weight): weight.codes
    }
  }

  /// The codes, and the values that the files hold once per block or row.
  var parts: [Tensor] {
    switch self {
    case .fourBit(let weight): [weight.codes, weight.scales.tensor]
    case .int8(let weight): [weight.codes, weight.scales]
    case .grouped(let weight): [weight.codes, weight.scales, weight.offsets] + (weight.groups.map { [$0] } ?? [])
    }
  }

  /// The tensor to compute with, in memory of its own; the files' bytes are not needed afterwards.
  package func packed(on cpu: CPU) throws(LimnError) -> Tensor {
    switch self {
    case .fourBit(let weight): try weight.packed(on: cpu)
    case .int8(let weight): try weight.packed(on: cpu)
    case .grouped(let weight): try weight.packed(on: cpu)
    }
  }
}

/// NF4 or FP4: blocks of `blockSize` run over the flattened matrix, value = map[code] · absmax, rounded to `type`.
package struct FourBitWeight: Sendable {
  package enum Code: String, Sendable {
    case nf4, fp4

    var index: Int { self == .nf4 ? 0 : 1 }

    /// The values of the 16 codes.
    package var map: [Float] {
      withUnsafeBytes(of: limn_4bit_tables) { bytes in
        (0..<16).map { bytes.load(fromByteOffset: (index * 16 + $0) * 4, as: Float.self) }
      }
    }
  }

  /// The scales of the blocks.
  package enum Scales: Sendable {
    /// F32, F16 or BF16. They stay in the file until needed, because a model has up to one scale for every 64 weights.
    case plain(Tensor)
    /// absmax = map[code] · absmax of `blockSize` codes + offset: double quantisation.
    case nested(codes: Tensor, map: [Float], absmax: [Float], blockSize: Int, offset: Float)

    /// What the file holds once per block.
    var tensor: Tensor {
      switch self {
      case .plain(let tensor), .nested(let tensor, _, _, _, _): tensor
      }
    }
  }

  package let shape: [Int]
  package let code: Code
  /// [16]; the standard values of NF4 or FP4 unless a file gives others.
  package let map: [Float]
  /// The type of the checkpoint that was quantised: F32, F16 or BF16.
  package let type: TensorType
  package let blockSize: Int
  /// Two codes per byte, the first in the high nibble.
  package let codes: Tensor
  package let scales: Scales

  /// Checks nothing: the code that reads these numbers from a file has checked them all.
  package init(
    shape: [Int], code: Code, map: [Float], type: TensorType, blockSize: Int, codes: Tensor, scales: Scales
  ) {
    precondition(map.count == 16 && blockSize > 0)
    self.shape = shape
    self.code = code
    self.map = map
    self.type = type
    self.blockSize = blockSize
    self.codes = codes
    self.scales = scales
  }

  /// Quantises a matrix of F32, F16 or BF16 in blocks of 64, as bitsandbytes' `quantize_4bit` does.
  package init(quantizing tensor: Tensor, as code: Code, doubleQuantization: Bool, on cpu: CPU)
    throws(LimnError)
  {
    let count = tensor.count, blocks = (count + 63) / 64
    var absmax = [Float](repeating: 0, count: blocks)
    let codes = try Tensor(bytes: (count + 1) / 2) { buffer in
      absmax.withUnsafeMutableBufferPointer { absmax in
        var job = limn_quantize_job(
          values: tensor.bytes.baseAddress, type: tensor.type.kernelType!, count: count,
          code: Int32(code.index),
          codes: buffer.baseAddress, absmax: absmax.baseAddress)
        cpu.share(cpu.kernels.quantize_4bit, &job, count: blocks, grain: 1024)
      }
    }
    self.init(
      shape: tensor.shape, code: code, map: code.map, type: tensor.type, blockSize: 64, codes: codes,
      scales: doubleQuantization && blocks > 0 ? try Self.nested(absmax) : .plain(try Tensor(floats: absmax)))
  }

  private static func nested(_ absmax: [Float]) throws(LimnError) -> Scales {
    var map = [Float](repeating: 0, count: 256)
    var outer = [Float](repeating: 0, count: (absmax.count + 255) / 256)
    var offset: Float = 0
    let codes = try Tensor(bytes: absmax.count) { buffer in
      offset = limn_nest_absmax(absmax, absmax.count, buffer.baseAddress, &outer, &map)
    }
    return .nested(codes: codes, map: map, absmax: outer, blockSize: 256, offset: offset)
  }

  /// One scale per block.
  package var absmax: [Float] {
    get throws(LimnError) {
      switch scales {
      case .plain(let absmax): return try dequantized(absmax)
      case .nested(let codes, let map, let outer, let blockSize, let offset):
        return [Float](unsafeUninitializedCapacity: codes.count) { absmax, count in
          count = codes.count
          withExtendedLifetime(codes.memory) {
            limn_unnest_absmax(
              codes.bytes.baseAddress, count, map, outer, blockSize, offset, absmax.baseAddress)
          }
        }
      }
    }
  }

  /// In blocks of 64 if rows consist of whole blocks; else in the checkpoint's type, which is just as exact.
  func packed(on cpu: CPU) throws(LimnError) -> Tensor {
    let count = shape.reduce(1, *), absmax = try absmax
    let (type, fills) = (packedType, fillsBlocks)
    let memory = try Memory(count: type.byteCount(elements: count)!) { (buffer) throws(LimnError) in
      withExtendedLifetime(codes.memory) {
        absmax.withUnsafeBufferPointer { absmax in
          map.withUnsafeBufferPointer { map in
            var job = limn_4bit_job(
              codes: codes.bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), absmax: absmax.baseAddress,
              block_size: blockSize, count: count, map: map.baseAddress, type: self.type.kernelType!,
              packed: buffer.baseAddress)
            let kernel: Kernel = fills ? cpu.kernels.pack_4bit : cpu.kernels.expand_4bit
            cpu.share(kernel, &job, count: (count + 63) / 64, grain: 4096)
          }
        }
      }
    }
    return Tensor(type: type, shape: shape, memory: memory, range: 0..<memory.bytes.count)
  }

  /// Whether rows consist of whole blocks of 64, with the standard values of the code.
  private var fillsBlocks: Bool {
    shape.count == 2 && shape[1] % 64 == 0 && blockSize % 64 == 0 && map == code.map
  }

  var packedType: TensorType {
    guard fillsBlocks else { return type }
    return switch (code, type) {
    case (.nf4, .f16): .nf4_F16
    case (.nf4, .bf16): .nf4_BF16
    case (.nf4, _): .nf4
    case (.fp4, .f16): .fp4_F16
    case (.fp4, .bf16): .fp4_BF16
    case (.fp4, _): .fp4
    }
  }
}

/// LLM.int8: value = code · absmax of the row / 127.
package struct Int8Weight: Sendable {
  /// [outputs, inputs].
  package let shape: [Int]
  /// Signed bytes.
  package let codes: Tensor
  /// [outputs], F32, F16 or BF16.
  let scales: Tensor

  package init(shape: [Int], codes: Tensor, scales: Tensor) {
    precondition(shape.count == 2 && codes.count == shape[0] * shape[1] && scales.count == shape[0])
    self.shape = shape
    self.codes = codes
    self.scales = scales
  }

  /// [outputs]
  package var absmax: [Float] {
    get throws(LimnError) { try dequantized(scales) }
  }

  /// Quantises a matrix [outputs, inputs] of F32, F16 or BF16 as bitsandbytes' `int8_vectorwise_quant` does after its
  /// rounding to float16.
  package init(quantizing tensor: Tensor, on cpu: CPU) throws(LimnError) {
    let (rows, columns) = (tensor.shape[0], tensor.shape[1])
    var absmax = [Float](repeating: 0, count: rows)
    let codes = try Tensor(bytes: rows * columns) { buffer in
      absmax.withUnsafeMutableBufferPointer { absmax in
        var job = limn_quantize_job(
          values: tensor.bytes.baseAddress, type: tensor.type.kernelType!, count: columns, code: 0,
          codes: buffer.baseAddress, absmax: absmax.baseAddress)
        cpu.share(cpu.kernels.quantize_int8, &job, count: rows, grain: 8)
      }
    }
    self.init(shape: tensor.shape, codes: codes, scales: try Tensor(floats: absmax))
  }

  private var fillsBlocks: Bool { shape[1] % 64 == 0 }

  var packedType: TensorType { fillsBlocks ? .llmInt8 : .f32 }

  /// In blocks of 64 if rows consist of whole blocks, else in float32.
  func packed(on cpu: CPU) throws(LimnError) -> Tensor {
    let (type, fills, absmax) = (packedType, fillsBlocks, try absmax)
    let memory = try Memory(count: type.byteCount(elements: shape[0] * shape[1])!) {
      (buffer) throws(LimnError) in
      withExtendedLifetime(codes.memory) {
        absmax.withUnsafeBufferPointer { absmax in
          var job = limn_llm_int8_job(
            codes: codes.bytes.baseAddress?.assumingMemoryBound(to: Int8.self), absmax: absmax.baseAddress,
            columns: shape[1], packed: buffer.baseAddress)
          let kernel: Kernel = fills ? cpu.kernels.pack_int8 : cpu.kernels.expand_int8
          cpu.share(kernel, &job, count: shape[0], grain: 16)
        }
      }
    }
    return Tensor(type: type, shape: shape, memory: memory, range: 0..<memory.bytes.count)
  }
}

extension CPU {
  /// Runs a kernel over a job's items on all threads.
  func share(_ kernel: Kernel, _ job: UnsafeRawPointer, count: Int, grain: Int) {
    pool.exclusively { pool.run(kernel, job, count: count, grain: grain) }
  }
}

extension Tensor {
  /// Bytes that limn owns.
  fileprivate init(
    bytes: Int, fill: (UnsafeMutableRawBufferPointer) -> Void
  ) throws(LimnError) {
    let memory = try Memory(count: bytes) { (buffer) throws(LimnError) in fill(buffer) }
    self.init(type: .u8, shape: [bytes], memory: memory, range: 0..<bytes)
  }
}
