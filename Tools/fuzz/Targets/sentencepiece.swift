import LimnFiles
import LimnCore
import LimnTensor
import LimnText

/// A SentencePiece tokenizer.model; a sentence is encoded and decoded.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  _ = Scratch.write(UnsafeRawBufferPointer(start: start, count: count), as: "tokenizer.model")
  attempt { () throws(LimnError) in
    let tokenizer = try Tokenizer(.folder(path: Scratch.folder))
    _ = tokenizer.decode(tokenizer.encode("Hello  World, it's 2024!\n<s>  日本語 🙂</s>"))
  }
  return 0
}
