import LimnFiles
import LimnCore
import LimnTensor
import LimnText

/// GGUF: header, metadata, tensors; then the tokenizer, template and checkpoint built from them.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  // A file of which the first half is here.
  attempt { () throws(LimnError) in
    let half = UnsafeRawBufferPointer(start: start, count: count).prefix(count / 2)
    var headers = ModelHeaders("model")
    guard try headers.add("model.gguf", beginning: half, size: count) == nil else { return }
    _ = try headers.checkpoint()
  }
  let path = Scratch.write(UnsafeRawBufferPointer(start: start, count: count), as: "model.gguf")
  attempt { () throws(LimnError) in
    let file = try GGUF(path: path)
    touch(file.tensors)
    for (_, value) in file.metadata {
      _ = (
        value.string, value.bool, value.int, value.double, value.strings, value.ints, value.doubles,
        value.floats
      )
    }
    attempt { () throws(LimnError) in _ = try Tokenizer(.gguf(file)).encode("What is <image> this?") }
    attempt { () throws(LimnError) in _ = try ChatTemplate.find(in: .gguf(file)) }
    attempt { () throws(LimnError) in _ = try Checkpoint.open(ModelLocation(path)) }
  }
  return 0
}
