import LimnFiles
import LimnCore
import LimnTensor

/// A config.json of any layout.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  attempt { () throws(LimnError) in
    let json = try JSON.parse(UnsafeRawBufferPointer(start: start, count: count), place: "config.json")
    _ = try ModelConfig(json: json, place: "config.json")
  }
  return 0
}
