import Limn
import LimnCore
import Testing

@Suite struct PromptInputsTests {
  @Test("a prompt that is too long loses text from its middle, never its ends")
  func truncation() throws {
    let prompt = PromptInputs(tokens: Array(0..<100))
    let shorter = try #require(prompt.truncatingMiddle(to: 60))
    #expect(shorter.tokens == Array(0..<30) + Array(70..<100))
    #expect(prompt.truncatingMiddle(to: 100)?.tokens == prompt.tokens)
    #expect(prompt.truncatingMiddle(to: 1) == nil)
  }
}
