import LimnFiles
import LimnCore
import LimnText

private let conversation: JSON = .array([
  .object(["role": .string("system"), "content": .string("You are helpful.")]),
  .object([
    "role": .string("user"),
    "content": .array([
      .object(["type": .string("image")]),
      .object(["type": .string("text"), "text": .string("What is this?")]),
    ]),
  ]),
  .object(["role": .string("assistant"), "content": .string("A  house.\n")]),
])

/// A chat template in Jinja, parsed and rendered.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  guard let source = String(validating: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
  else {
    return 0
  }
  attempt { () throws(LimnError) in
    _ = try ChatTemplate(source: source, name: "template").render(
      messages: conversation, addGenerationPrompt: true,
      specialTokens: ["bos_token": "<s>", "eos_token": "</s>"])
  }
  return 0
}
