extension LimnError {
  /// Who reads a message, which decides how the message names options.
  public enum Channel: Sendable, CaseIterable {
    /// `--max-tokens`
    case command
    /// `GenerationOptions.maxTokens`
    case swift
    /// `max_tokens`, a member of a request's JSON
    case json
  }

  /// The options that messages can tell people to set.
  public enum Option: Sendable, CaseIterable {
    case model, projector, base, template, preprocess, quantize
    case context, threads, kvType
    case maxTokens, stop, overflow
    case output, force
    case acceptDamaged, background, timeout

    fileprivate var names: (command: String, swift: String, json: String) {
      switch self {
      case .model: ("--model", "VisionLanguageModel.load", "model")
      case .projector: ("--mmproj", "LoadOptions.projectorFile", "projector")
      case .base: ("--base", "LoadOptions.base", "base")
      case .template: ("--template", "LoadOptions.template", "template")
      case .preprocess: ("--preprocess", "LoadOptions.preprocess", "preprocess")
      case .quantize: ("--quantize", "LoadOptions.quantization", "quantize")
      case .context: ("--context", "LoadOptions.context", "context")
      case .threads: ("--threads", "LoadOptions.threads", "threads")
      case .kvType: ("--kv-type", "LoadOptions.kvType", "kv_type")
      case .maxTokens: ("--max-tokens", "GenerationOptions.maxTokens", "max_tokens")
      case .stop: ("--stop", "GenerationOptions.stops", "stop")
      case .overflow: ("--overflow", "GenerationOptions.overflow", "overflow")
      case .output: ("--output", "output", "output")
      case .force: ("--force", "replaces", "force")
      case .acceptDamaged: ("--accept-damaged", "ImageOptions.acceptsDamaged", "accept_damaged")
      case .background: ("--background", "ImageOptions.background", "background")
      case .timeout: ("--timeout", "ImageReference.source(timeout:)", "timeout")
      }
    }

    /// The option's name in a channel: `--context`, `LoadOptions.context`, `context`.
    public func name(for channel: Channel) -> String {
      switch channel {
      case .command: names.command
      case .swift: names.swift
      case .json: names.json
      }
    }

    /// `--overflow truncate-middle`, `GenerationOptions.overflow = .truncateMiddle`, `overflow: "truncate-middle"`
    fileprivate func setting(_ value: String, for channel: Channel) -> String {
      switch channel {
      case .command: return name(for: channel) + " " + value
      case .json: return name(for: channel) + ": \"\(value)\""
      case .swift where self == .template: return name(for: channel) + " = \"\(value)\""
      case .swift:
        let words = value.split(separator: "-")
        return name(for: channel) + " = ." + words[0] + words.dropFirst().map(\.capitalized).joined()
      }
    }
  }

  /// A text that names options in its reader's terms: `"shorten it, or raise \(.context)"`, or with a value
  /// `"use \(.overflow, "truncate-middle")"`.
  public struct Text: Sendable, Equatable, ExpressibleByStringInterpolation, CustomStringConvertible {
    fileprivate enum Piece: Sendable, Equatable {
      case plain(String)
      case option(Option, value: String?)
    }

    private let pieces: [Piece]

    /// Collects the pieces of an interpolated text.
    public struct StringInterpolation: StringInterpolationProtocol {
      fileprivate var pieces: [Piece] = []

      /// Called by the compiler, as are the functions below.
      public init(literalCapacity: Int, interpolationCount: Int) {}

      /// Plain text.
      public mutating func appendLiteral(_ literal: String) { pieces.append(.plain(literal)) }
      /// An option, named in the reader's terms.
      public mutating func appendInterpolation(_ option: Option) { pieces.append(.option(option, value: nil)) }
      /// An option set to a value.
      public mutating func appendInterpolation(_ option: Option, _ value: String) {
        pieces.append(.option(option, value: value))
      }
      /// Another text with its options.
      public mutating func appendInterpolation(_ text: Text) { pieces += text.pieces }
      /// Anything else, as it describes itself.
      public mutating func appendInterpolation<Value>(_ value: Value) { pieces.append(.plain("\(value)")) }
    }

    /// A text that names no options.
    public init(_ text: String) { pieces = [.plain(text)] }
    /// A literal that names no options.
    public init(stringLiteral text: String) { self.init(text) }
    /// A literal that may name options.
    public init(stringInterpolation: StringInterpolation) { pieces = stringInterpolation.pieces }

    /// With options named as in Swift.
    public var description: String { description(for: .swift) }

    /// The text with options named as readers of a channel know them.
    public func description(for channel: Channel) -> String {
      pieces.reduce(into: "") { text, piece in
        switch piece {
        case .plain(let plain): text += plain
        case .option(let option, nil): text += option.name(for: channel)
        case .option(let option, let value?): text += option.setting(value, for: channel)
        }
      }
    }

    /// Whether it reads the same in all channels.
    public static func == (a: Text, b: Text) -> Bool {
      Channel.allCases.allSatisfy { a.description(for: $0) == b.description(for: $0) }
    }
  }
}

extension Substring {
  fileprivate var capitalized: String { prefix(1).uppercased() + dropFirst() }
}
