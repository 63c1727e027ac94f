import Limn
import LimnCore

/// The settings of a prediction or of loading a model: layers of fields, of which the later ones win.
struct LMStudioConfig: Sendable {
  private(set) var fields: JSONObject = [:]
  /// Whether the history is to be read as it is, without the model's template: what `complete` asks for.
  private(set) var isCompletion = false

  init(_ stack: RequestFields?) throws(Refusal) {
    for layer in try stack?.objects("layers") ?? [] {
      if try layer.string("layerName") == "completeModeFormatting" { isCompletion = true }
      for field in try layer.object("config")?.objects("fields") ?? [] {
        fields.set(try field.required("key"), to: field.json["value"] ?? .null)
      }
    }
  }

  /// The fields in the form in which they came.
  var json: JSON {
    .object(["fields": .array(fields.members.map { .object(["key": .string($0.key), "value": $0.value]) })])
  }

  /// A field without its check box; nil if it is left out, null or not checked.
  func value(_ key: String) -> JSON? {
    guard let value = fields[key], !value.isNull, value.bool != false else { return nil }
    guard let checked = value["checked"] else { return value }
    return checked.bool == true ? value.present("value") : nil
  }

  /// The settings with which a model is open.
  static func load(context: Int, _ namespace: LMStudioSocket.Namespace) -> JSON {
    let field: JSONObject = ["key": .string("\(namespace.rawValue).load.contextLength"), "value": .integer(context)]
    return .object(["fields": .array([.object(field)])])
  }

  // MARK: Predictions

  private static let prefix = "llm.prediction."
  /// Names here, and those that the other APIs have for the same.
  private static let names = [
    ("temperature", "temperature"), ("topPSampling", "top_p"), ("topKSampling", "top_k"), ("minPSampling", "min_p"),
    ("repeatPenalty", "repeat_penalty"), ("stopStrings", "stop"), ("maxPredictedTokens", "max_tokens"),
    ("seed", "seed"),
  ]

  /// Sets a job's options.
  /// - Parameter seed: for a prediction that gives none.
  func apply(to job: inout AnswerJob, seed: Int?) throws(Refusal) {
    var object: JSONObject = [:]
    if let seed { object.set("seed", to: .integer(seed)) }
    for (name, common) in Self.names {
      if let value = value(Self.prefix + name) { object.set(common, to: value) }
    }
    do throws(Refusal) {
      let fields = try RequestFields(.object(object))
      try OpenAI.options(fields, into: &job)
      if let most = try OpenAI.maxTokens(fields, "max_tokens") { job.options.maxTokens = most }
    } catch {
      var refusal = error
      for (name, common) in Self.names where refusal.param == common || refusal.message.hasPrefix(common) {
        refusal.message = refusal.message.replacing(common, with: Self.prefix + name, maxReplacements: 1)
      }
      throw refusal
    }
    job.options.format = try format
    if !isCompletion, value(Self.prefix + "promptTemplate") != nil {
      throw .invalid("llm.prediction.promptTemplate", "this server uses the template that belongs to the model")
    }
  }

  private var format: AnswerFormat {
    get throws(Refusal) {
      let key = Self.prefix + "structured"
      guard let value = value(key) else { return .text }
      let setting = try RequestFields(value, path: key)
      switch try setting.string("type") ?? "none" {
      case "none": return .text
      case "json":
        guard let schema = setting.value("jsonSchema") else { return .jsonObject }
        return .json(schema: schema.serialised())
      default: throw setting.wrong("type", "none or json")
      }
    }
  }
}
