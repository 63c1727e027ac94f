public import LimnCore

/// What a model is, how limn will use it and why, and what about it is doubtful: what `limn show` says.
///
/// A checkpoint that does not open for answering is reported all the same, as far as its files can be read.
public struct ModelReport: Sendable {
  /// One line about the model.
  public struct Fact: Sendable, Equatable {
    /// For machines: "language_model".
    public let key: String
    /// For people: "language model".
    public let title: String
    /// What there is to say, for people.
    public let value: String
  }

  /// What the model is, line by line.
  public let facts: [Fact]
  /// What about it is doubtful, warnings first.
  public let findings: [ModelDoctor.Finding]
  /// The model in numbers.
  public let summary: ModelSummary
  /// What it takes from a computer, as it would be opened; nil for one that does not open.
  package let demand: ModelDemand?
  /// Why the model does not open for answering; nil: it does.
  public let problem: LimnError?

  /// Reports on a model, on a thread of its own.
  /// - Parameters:
  ///   - reference: a folder (a model, or an adapter for one), or a `.gguf` file.
  ///   - options: how the model would be opened.
  ///   - progress: receives the current step and how far it is; not called on the caller's thread.
  /// - Throws: `notFound` where there is nothing to report about; `interrupted` where the task is cancelled.
  public init(
    _ reference: String, options: LoadOptions = LoadOptions(),
    progress: @escaping @Sendable (OpeningProgress) -> Void = { _ in }
  ) async throws(LimnError) {
    self = try await OpeningWatch.run(report: progress) { watch throws(LimnError) in
      ModelReport(try ModelParts(found: options.location(of: reference), options, watch: watch), options)
    }
  }

  private init(_ parts: ModelParts, _ options: LoadOptions) {
    let summary = ModelSummary(parts)
    facts = ModelFacts(parts: parts, summary: summary).all
    findings = ModelDoctor(parts: parts, summary: summary).findings
    self.summary = summary
    problem = parts.problem
    demand = parts.problem == nil ? ModelDemand(of: parts, options) : nil
  }
}
