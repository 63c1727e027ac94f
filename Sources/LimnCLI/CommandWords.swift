import Foundation

/// The words of the command line before ArgumentParser reads them, and what was meant by those that it cannot read.
enum CommandWords {
  /// Options whose value is a text of the user's, and may begin with a dash.
  private static let textOptions: Set<String> = ["--system", "-s", "--stop", "--prompt", "--image", "-i"]

  /// What begins with a dash and holds a space is text, not an option: it moves behind `--`, where it counts as an operand.
  static func sorted(_ words: [String]) -> [String] {
    let end = words.firstIndex(of: "--") ?? words.count
    var (options, texts): ([String], [String]) = ([], [])
    for (index, word) in words[..<end].enumerated() {
      let isValue = index > 0 && textOptions.contains(words[index - 1])
      let isSetting = word.firstMatch(of: /^--?[A-Za-z][A-Za-z\-]*=/) != nil
      if word.hasPrefix("-"), word.contains(where: \.isWhitespace), !isValue, !isSetting {
        texts.append(word)
      } else {
        options.append(word)
      }
    }
    let rest = texts + words[end...].dropFirst()
    return rest.isEmpty && end == words.count ? options : options + ["--"] + rest
  }

  /// The command that was meant by words that do not begin with one; nil: no idea.
  static func meant(by words: [String], commands: [String]) -> String? {
    guard let first = words.first, !first.hasPrefix("-"), !commands.contains(first) else { return nil }
    let rest = words.dropFirst().map(quoted).joined(separator: " ")
    func command(_ start: String, _ usual: String = "") -> String {
      "limn \(start)" + (rest.isEmpty ? usual.isEmpty ? "" : " " + usual : " " + rest)
    }
    if PictureName.isPicture(first) || first.contains(where: \.isWhitespace) {
      let hasQuestion = words.contains { !PictureName.isPicture($0) && !$0.hasPrefix("-") }
      return "limn ask " + words.map(quoted).joined(separator: " ") + (hasQuestion ? "" : " \"What is this?\"")
    }
    switch first.lowercased() {
    case "version": return "limn --version"
    case "describe", "caption":
      return rest.isEmpty
        ? "limn ask photo.jpg \"Describe this picture.\"" : command("ask") + " \"Describe this picture.\""
    case "run", "generate", "vqa", "query", "predict":
      // `run MODEL`, as other programs have it.
      if words.count == 2, !PictureName.isPicture(words[1]) { return command("chat --model") }
      return words.count > 1 ? command("ask") : "limn chat"
    case "talk", "repl", "interactive": return command("chat")
    case "info", "inspect", "list", "ls", "models": return command("show")
    case "benchmark", "perf": return command("bench")
    case "export", "to-gguf": return command("convert")
    case "tokenize", "detokenize", "preprocess", "embed", "logits", "tensors", "template":
      return command("debug \(first.lowercased())")
    default:
      let near = commands.filter { editDistance(first, $0) <= 2 }
      return near.min { editDistance(first, $0) < editDistance(first, $1) }.map { command($0) }
    }
  }

  /// A word as it is typed in a shell.
  private static func quoted(_ word: String) -> String {
    let isPlain = !word.isEmpty && word.allSatisfy { $0.isLetter || $0.isNumber || "-_./:=~+@%,".contains($0) }
    return isPlain ? word : "\"" + word.replacing(#/["\\$`]/#) { "\\" + $0.output } + "\""
  }

  /// How many letters to insert, remove, replace or swap with a neighbour to turn `a` into `b`.
  private static func editDistance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a), Array(b))
    var table = (0...a.count).map { row in (0...b.count).map { row == 0 ? $0 : $0 == 0 ? row : 0 } }
    for i in 0..<a.count {
      for j in 0..<b.count {
        let change = table[i][j] + (a[i] == b[j] ? 0 : 1)
        table[i + 1][j + 1] = min(table[i][j + 1] + 1, table[i + 1][j] + 1, change)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
          table[i + 1][j + 1] = min(table[i + 1][j + 1], table[i - 1][j - 1] + 1)
        }
      }
    }
    return table[a.count][b.count]
  }
}
