import LimnFiles
import LimnCore

/// JSON: a parsed value is written, parsed and written again; both texts must be equal.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  attempt { () throws(LimnError) in
    let value = try JSON.parse(bytes, place: "input")
    for format in [JSON.Format(), .compact] {
      let text = value.serialised(format)
      let again = try? JSON.parse(text, place: "output")
      precondition(again?.serialised(format) == text, "the value changes when written and read again")
    }
  }
  attempt { () throws(LimnError) in
    _ = try JSON.parse(bytes, place: "input", duplicates: .reject, lenient: false)
  }
  return 0
}
