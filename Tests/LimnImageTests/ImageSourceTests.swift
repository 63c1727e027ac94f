import Foundation
import LimnImage
import LimnCore
import Testing

@Suite("Image sources")
struct ImageSourceTests {
  @Test(
    "data: URLs hold base64 or percent-encoded bytes",
    arguments: [
      ("data:image/png;base64,aGVsbG8=", "hello"), ("DATA:;BASE64,aGVsbG8", "hello"),
      ("data:image/png;base64,aGVs%62G8%3D", "hello"), ("data:;base64,aGVs\n bG8=", "hello"),
      ("data:;base64,Pz8-Pz8_", "??>???"), ("data:image/png,a%2Cb,c", "a,b,c"), ("data:,", ""),
    ])
  func dataURL(_ text: String, _ content: String) throws {
    let source = try ImageSource(dataURL: text)
    #expect(try source.bytes() == Array(content.utf8))
    #expect(source.name == "the data: URL")
  }

  @Test(
    "broken data: URLs are refused",
    arguments: [
      "data:image/png;base64", "data:;base64,a", "data:;base64,a*b=", "data:,%4", "data:,%+1", "data:,%zz",
    ])
  func brokenDataURL(_ text: String) {
    let error = #expect(throws: LimnError.self) { try ImageSource(dataURL: text) }
    #expect(error?.kind == .badData)
  }

  @Test("a file is read completely")
  func file() throws {
    let path = ImageCases.folder.appending(path: "gray.jpg").path
    #expect(try ImageSource.path(path).bytes() == ImageCases.bytes("gray.jpg"))
  }

  @Test("a missing file, a directory and a device give different errors")
  func noFile() throws {
    func kind(_ path: String) -> LimnError.Kind? {
      #expect(throws: LimnError.self) { try ImageSource.path(path).bytes() }?.kind
    }
    #expect(kind("/nowhere/a.jpg") == .notFound)
    #expect(kind(ImageCases.folder.path) == .badData)
    #expect(kind("/dev/zero") == .badData)
  }

  @Test("a file above the size limit is refused before it is read")
  func tooLarge() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    #expect(FileManager.default.createFile(atPath: path, contents: nil))
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(truncate(path, off_t(ImageSource.maxBytes + 1)) == 0)
    let error = #expect(throws: LimnError.self) { try ImageSource.path(path).bytes() }
    #expect(error?.kind == .badData)
  }
}
