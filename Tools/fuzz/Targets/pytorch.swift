import LimnFiles
import LimnCore
import LimnTensor

/// A torch.save file: zip archive and pickle.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  let path = Scratch.write(UnsafeRawBufferPointer(start: start, count: count), as: "pytorch_model.bin")
  attempt { () throws(LimnError) in touch(try PyTorchFile(path: path).tensors) }
  return 0
}
