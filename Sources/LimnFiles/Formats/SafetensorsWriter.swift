package import LimnCore
import LimnTensor

/// Writes safetensors files (see `Safetensors`); the data begins at a multiple of 8.
package enum SafetensorsWriter {
  package static func layout(_ tensors: [TensorHeader]) -> WeightFileLayout {
    var object: JSONObject = ["__metadata__": .object(["format": .string("pt")])]
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.byteCount
      object.set(
        tensor.name,
        to: .object([
          "dtype": .string(tensor.type.rawValue), "shape": .array(tensor.shape.map(JSON.integer)),
          "data_offsets": .array([.integer(offset), .integer(end)]),
        ]))
      offset = end
    }
    var header = Array(JSON.object(object).serialised(.compact).utf8)
    header += [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8)
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
    return WeightFileLayout(
      header: length + header, tensors: tensors, padding: tensors.map { _ in 0 })
  }

  /// The index of a checkpoint split over several files.
  package static func index(_ shards: [(file: String, layout: WeightFileLayout)]) -> JSON {
    var map = JSONObject()
    var size = 0
    for (file, layout) in shards {
      for tensor in layout.tensors {
        map.set(tensor.name, to: .string(file))
        size += tensor.byteCount
      }
    }
    return .object(["metadata": .object(["total_size": .integer(size)]), "weight_map": .object(map)])
  }
}
