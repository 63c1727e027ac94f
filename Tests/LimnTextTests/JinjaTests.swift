import Foundation
import LimnFiles
import LimnCore
import LimnText
import Testing

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "Fixtures/Templates").path

/// Compares templates with transformers' engine; Tools/fixtures/templates.py writes the cases.
@Suite("The template engine")
struct JinjaTests {
  let context: JSONObject

  init() throws { context = try #require(try JSON.parse(file: fixtures + "/context.json").object) }

  private func outcome(_ source: String) -> Result<String, LimnError> {
    do throws(LimnError) {
      let template = try ChatTemplate(source: source, name: "test")
      let message: JSON = .object(["role": .string("user"), "content": .string("")])
      return .success(
        try template.render(
          messages: .array([message]), addGenerationPrompt: true, specialTokens: [:], extra: context))
    } catch {
      return .failure(error)
    }
  }

  @Test(
    "statements and expressions give the reference's text, or an error where the reference fails",
    arguments: ["statements.json", "expressions.json"])
  func reference(file: String) throws {
    let cases = try #require(try JSON.parse(file: fixtures + "/" + file).array)
    #expect(cases.count > 100)
    for pair in cases {
      let (source, expected) = (try #require(pair.array?[0].string), pair.array?[1].string)
      let got = outcome(source)
      let text = try? got.get()
      #expect(text.map(ExactString.init) == expected.map(ExactString.init), "\(source): \(got)")
    }
  }
}

/// Malicious templates: each must end in an error, quickly and with little memory.
@Suite("Hostile templates")
struct HostileJinjaTests {
  private func render(_ source: String) throws -> String {
    try ChatTemplate(source: source, name: "hostile").render(
      messages: .array([.object([:])]), addGenerationPrompt: false, specialTokens: [:])
  }

  @Test(
    "endless work, huge values and deep nesting are refused",
    arguments: [
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ 'x' * 999999999999 }}", "{{ [0] * 999999999999 }}", "{{ 'x'.center(9999999999) }}",
      "{{ '%999999999d' % 1 }}", "{{ '{:99999999999}'.format(1) }}", "{{ 'a' | indent(99999999999, true) }}",
      "{{ '%*d' % (-9223372036854775807 - 1, 1) }}",
      "{% set s = 'a' * 999999 %}{% for i in range(9999) %}{{ {s: 1}[s] }}{{ s|length }}{{ s is lower }}{% endfor %}",
      "{{ range(100001) }}", "{{ 9 ** 99 }}", "{{ 9223372036854775807 + 1 }}",
      "{{ -9223372036854775807 - 2 }}",
      "{{ [1] | batch(99999999999, 1) | list }}", "{{ [1] | slice(99999999999) | list }}",
      "{% set ns = namespace(s='xxxxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% set ns = namespace(l=[1, 2]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=0) %}{% for i in range(99999) %}{% for j in [ns.l] %}{% set ns.l = loop %}{% endfor %}{% endfor %}",
      "{% for i in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' * 99999 }}{% endfor %}",
      "{% set s = 'a' * 999999 %}{% for i in range(9999) %}{{ s.replace('aab', 'b') | length }}{% endfor %}",
    ])
  func refused(source: String) {
    #expect(throws: LimnError.self) { try render(source) }
  }

  @Test("nesting in the source is bounded, for every construct")
  func nesting() {
    let count = 20_000
    func repeated(_ text: String) -> String { String(repeating: text, count: count) }
    for source in [
      "{{ " + repeated("(") + "1" + repeated(")") + " }}", "{{ " + repeated("[") + repeated("]") + " }}",
      "{{ " + repeated("{1:") + "1" + repeated("}") + " }}", "{{ " + repeated("not ") + "1 }}",
      "{{ " + repeated("-") + "1 }}",
      "{{ 1" + repeated(" + 1") + " }}", "{{ 1" + repeated(".a") + " }}", "{{ 1" + repeated("|d") + " }}",
      "{{ 1" + repeated(" if 1 else 1") + " }}", "{{ f" + repeated("()") + " }}",
      "{{ 1" + repeated("[1") + repeated("]") + " }}",
      repeated("{% if 1 %}") + repeated("{% endif %}"), repeated("{% for a in b %}"),
      repeated("{% macro a() %}"),
      "{% set " + repeated("(") + "a" + repeated(")") + " = 1 %}", "{{ 1" + repeated(" is eq 1") + " }}",
    ] {
      #expect(throws: LimnError.self) { try render(source) }
    }
  }

  @Test("templates at the depth limit still run")
  func deepest() throws {
    let sum = "{{ 0" + String(repeating: " + 1", count: 118) + " }}"
    #expect(try render(sum) == "118")
    let brackets =
      "{{ " + String(repeating: "[", count: 50) + String(repeating: "]", count: 50) + "|length }}"
    #expect(try render(brackets) == "1")
    let largest = "9223372036854775807"
    #expect(try render("{{ range(0, \(largest), 4611686018427387904)|list }}") == "[0, 4611686018427387904]")
    #expect(
      try render("{{ range(0, \(largest), 4611686018427387904)[::-1]|list }}") == "[4611686018427387904, 0]")
    #expect(try render("{{ 'abc'[::\(largest)] }}{{ 'abc'[::-\(largest)] }}") == "ac")
    #expect(
      try render("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% else %}end{% endif %}{% endmacro %}{{ f(30) }}")
        == "end")
  }

  @Test("an error names the template and line, and includes the template's message")
  func message() {
    let error = #expect(throws: LimnError.self) {
      try render("a\n{% if true %}\n{{ raise_exception('Roles!') }}{% endif %}")
    }
    #expect(error?.place == "hostile, line 3")
    #expect(error?.what.description.contains("Roles!") == true)
    #expect(error?.kind == .badData)
    let syntax = #expect(throws: LimnError.self) { try render("a\n\n{% endif %}") }
    #expect(syntax?.place == "hostile, line 3")
  }
}
