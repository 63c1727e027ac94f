import LimnText

/// The version of this package.
public let version = "0.1.0"

/// The names of limn's built-in chat templates, for checkpoints that carry none.
public let templateNames: [String] = BuiltInTemplate.all.map(\.name)
