import Foundation
import Limn
import LimnText
import Synchronization
import Testing

@Suite("Options of an answer")
struct GenerationOptionsTests {
  private static let question = "What is the weather like?"

  private static func model() async throws -> VisionLanguageModel {
    try await VisionLanguageModel.load(try DemoModel.path())
  }

  @Test("log-probabilities come for each token, the likeliest first, and their bytes make the text")
  func logprobs() async throws {
    let model = try await Self.model()
    var options = GenerationOptions()
    options.logprobs = 3
    var tokens: [TokenLogprob] = []
    var answer: Answer?
    for try await event in model.stream([ChatMessage(.user, Self.question)], options: options) {
      switch event {
      case .tokens(let new): tokens += new
      case .finished(let finished): answer = finished
      default: break
      }
    }
    #expect(tokens.count == answer?.usage.completionTokens)
    #expect(String(decoding: tokens.flatMap(\.chosen.bytes), as: UTF8.self) == answer?.text)
    for token in tokens {
      #expect(token.top.count == 3)
      #expect(token.top.map(\.logprob) == token.top.map(\.logprob).sorted(by: >))
      #expect(token.top.reduce(0) { $0 + exp($1.logprob) } <= 1.0001)
      // Greedy: the chosen one is the likeliest.
      #expect(token.top.first == token.chosen)
    }
  }

  @Test("fewer than no alternatives are none")
  func negativeLogprobs() async throws {
    var options = GenerationOptions()
    (options.logprobs, options.maxTokens) = (-3, 2)
    for try await case .tokens(let new) in try await Self.model().stream(
      [ChatMessage(.user, Self.question)], options: options)
    { #expect(new.allSatisfy { $0.top.isEmpty }) }
  }

  @Test("a forbidden token does not come, and a favoured one comes always")
  func logitBias() async throws {
    let model = try await Self.model()
    var options = GenerationOptions()
    options.logprobs = 0
    func ids(_ options: GenerationOptions) async throws -> [Int] {
      var ids: [Int] = []
      for try await case .tokens(let new) in model.stream([ChatMessage(.user, Self.question)], options: options) {
        ids += new.map(\.chosen.id)
      }
      return ids
    }
    let first = try #require(try await ids(options).first)
    options.logitBias = [first: -.infinity]
    #expect(try await !ids(options).contains(first))
    options.logitBias = [first: 1000]
    options.maxTokens = 5
    #expect(try await ids(options) == [Int](repeating: first, count: 5))
    for id in [-1, model.vocabularySize] {
      options.logitBias = [id: 1]
      await #expect(throws: LimnError.self) { try await ids(options) }
    }
  }

  @Test("an answer that ignores its end goes on to the longest length")
  func ignoresEnd() async throws {
    let model = try await Self.model()
    var options = GenerationOptions()
    options.ignoresEnd = true
    options.maxTokens = 60
    let answer = try await model.ask(Self.question, options: options)
    #expect(answer.usage.completionTokens == 60)
    #expect(answer.finishReason == .length)
  }

  @Test("an answer says which of the request's stop texts ended it, and none where the model did")
  func stop() async throws {
    let model = try await Self.model()
    let whole = try await model.ask(Self.question)
    #expect(whole.stop == nil)
    let stop = String(whole.text.suffix(3))
    var options = GenerationOptions()
    options.stops = ["never to be seen", stop]
    let answer = try await model.ask(Self.question, options: options)
    #expect(answer.stop == stop)
    #expect(answer.text == String(whole.text[..<(try #require(whole.text.range(of: stop))).lowerBound]))
  }

  @Test("token ids are a prompt like their text, and foreign ones are refused")
  func tokenPrompt() async throws {
    let model = try await Self.model()
    var request = Request(rawPrompt: "What is there?")
    let expected = try await model.answer(request)
    request.prompt = .tokens(model.tokenizer.encode("What is there?"))
    #expect(try await model.answer(request).text == expected.text)
    request.prompt = .tokens([1 << 30])
    await #expect(throws: LimnError.self) { try await model.answer(request) }
  }

  @Test("an embedding of a prompt that takes several passes has length 1, and is the same each time")
  func embedding() async throws {
    let model = try await Self.model()
    let long = String(repeating: "a red house by the sea, ", count: 40)
    let whole = try await model.embedding(of: Request(rawPrompt: long))
    #expect(whole.promptTokens > 256)
    #expect(abs(whole.vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
    #expect(try await model.embedding(of: Request(rawPrompt: long)) == whole)
    let other = try await model.embedding(of: Request(rawPrompt: "rain"))
    #expect(zip(other.vector, whole.vector).reduce(0) { $0 + $1.0 * $1.1 } < 0.999)
  }
}
