import LimnHub
import LimnImage
import Testing

@Suite("Image references")
struct ImageReferenceTests {
  @Test("an argument is standard input, a URL, a file or data")
  func words() throws {
    #expect(try ImageReference("-") == .standardInput)
    #expect(try ImageReference("HTTPS://example.org/a.jpg") == .url("HTTPS://example.org/a.jpg"))
    #expect(try ImageReference("http_folder/a.jpg") == .source(.path("http_folder/a.jpg")))
    #expect(try ImageReference("file:///tmp/a%20b.jpg") == .source(.path("/tmp/a b.jpg")))
    #expect(try ImageReference("photo.jpg") == .source(.path("photo.jpg")))
    #expect(try ImageReference("data:,hello") == .source(.data(Array("hello".utf8), name: "the data: URL")))
  }
}
