import LimnFiles
import LimnCore
import LimnTensor
import LimnText

/// A tokenizer.json; a sentence is encoded and decoded.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  _ = Scratch.write(UnsafeRawBufferPointer(start: start, count: count), as: "tokenizer.json")
  attempt { () throws(LimnError) in
    let tokenizer = try Tokenizer(.folder(path: Scratch.folder))
    let ids = tokenizer.encode("Hello  World, it's 2024!\n<s>  日本語 🙂 é\u{301}\t</s>")
    _ = tokenizer.decode(ids)
    _ = tokenizer.decode([0, 1, 2, 3, 1 << 40, -1], skipSpecial: true)
  }
  return 0
}
