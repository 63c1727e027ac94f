import LimnFiles
import LimnCore
import LimnTensor

/// A safetensors file.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  let path = Scratch.write(UnsafeRawBufferPointer(start: start, count: count), as: "model.safetensors")
  attempt { () throws(LimnError) in touch(try Safetensors(path: path).tensors) }
  return 0
}
