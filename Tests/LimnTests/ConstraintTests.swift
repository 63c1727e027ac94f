import Foundation
import Limn
import LimnCore
import LimnTesting
import Testing

@Suite("Answers that must fit a schema") struct ConstraintTests {
  /// Everything in it has an end.
  private static let schema = #"""
    {"type": "object", "required": ["mood", "lights", "place"], "additionalProperties": false, "properties": {
      "mood": {"enum": ["calm", "寧靜"]},
      "lights": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 3, "maximum": 120}},
      "place": {"type": ["string", "null"], "pattern": "^[a-z中é]{2,5}$"},
      "share": {"type": "number", "minimum": 0, "maximum": 1}}}
    """#

  private func fits(_ text: String) throws -> Bool {
    let schema = try JSON.parse(Self.schema, place: "the schema")
    return SchemaValidator(root: schema).fits(try JSON.parse(text, place: "the answer"), schema)
  }

  // Random weights say anything; their tokenizers are SentencePiece, byte-level BPE and a GGUF's.
  @Test(
    "an answer that ends fits, whatever the model would rather say",
    arguments: ["llama-mha", "phi2", "llama-tied-llama3", "gguf-pair", "llama-mha-bytes"])
  func fitting(_ name: String) async throws {
    let testCase = try ModelCase(name)
    let model = try await testCase.open()
    for seed in 0..<6 as Range<UInt64> {
      var options = GenerationOptions()
      options.format = .json(schema: Self.schema)
      (options.sampling.temperature, options.sampling.seed, options.maxTokens) = (seed == 0 ? 0 : 2, seed, 400)
      let answer = try await model.ask("How is it?", images: testCase.sources, options: options)
      #expect(answer.finishReason == .stop, "\(answer.text)")
      #expect(try fits(answer.text), "\(answer.text)")
    }
  }

  @Test("drafts, and questions answered beside it, make no difference")
  func drafts() async throws {
    let testCase = try ModelCase("llama-mha")
    let model = try await testCase.open()
    var options = GenerationOptions()
    options.format = .json(
      schema: #"{"type": "array", "items": {"enum": [true, "true"]}, "minItems": 30, "maxItems": 30}"#)
    options.speculation = false
    let alone = try await model.ask("How is it?", options: options)
    options.speculation = true
    let drafted = options
    async let beside = model.ask("And now?")
    async let first = model.ask("How is it?", options: drafted)
    let answers = try await [first, beside]
    #expect(answers[0].text == alone.text && alone.finishReason == .stop)
    #expect(answers[0].timings.accepted > 0)
  }

  @Test("an answer that the token limit cuts begins such JSON")
  func cutting() async throws {
    let model = try await ModelCase("llama-mha").open()
    var options = GenerationOptions()
    (options.format, options.maxTokens) = (.jsonObject, 3)
    let answer = try await model.ask("How is it?", options: options)
    #expect(answer.finishReason == .length)
    #expect(answer.text.trimmingCharacters(in: .whitespaces).hasPrefix("{"))
  }

  @Test("a schema that cannot be enforced is refused before anything is computed")
  func refusal() async throws {
    let model = try await ModelCase("llama-mha").open()
    for schema in [#"{"uniqueItems": true}"#, "{", "7"] {
      var options = GenerationOptions()
      options.format = .json(schema: schema)
      let error = await #expect(throws: LimnError.self) { try await model.ask("How is it?", options: options) }
      #expect(error?.code == .invalidSchema, "\(schema)")
    }
  }
}
