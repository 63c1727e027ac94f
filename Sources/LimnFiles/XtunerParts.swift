import LimnCore
import LimnTensor

/// xtuner's own layout: the language model in the folder itself or, if it was not trained in full, as `llm_adapter/`
/// on a base; beside it `projector/`, and `visual_encoder/` or, on a CLIP, `visual_encoder_adapter/`.
enum XtunerParts {
  /// The tower that xtuner's recipes train on; no file records a frozen tower.
  private static let usualTower = "openai/clip-vit-large-patch14-336"

  static func isLayout(of folder: Folder) -> Bool { folder.has("projector/config.json") }

  static func llmAdapter(of folder: Folder) -> Folder? { adapter("llm_adapter", of: folder) }

  private static func adapter(_ name: String, of folder: Folder) -> Folder? {
    let adapter = Folder(path: folder.path(name))
    return Adapter.exists(in: adapter) ? adapter : nil
  }

  /// Adds the tower and the projector to the language model.
  static func complete(_ model: inout ModelAssembly, _ folder: Folder) throws(LimnError) {
    guard model.config.vision == nil else {
      throw LimnError.badData(
        "the base of an xtuner folder has a vision tower of its own", in: folder.path,
        expected: "a language model")
    }
    let tower = try addTower(&model, folder)
    try addProjector(&model, Folder(path: folder.path("projector")))
    model.layout = .xtuner
    model.processors.insert(tower, at: 0)
    model.config.featureLayers = [-2]
    model.config.keepsClassToken = model.config.vision?.hasClassToken == false
  }

  private static func addTower(_ model: inout ModelAssembly, _ folder: Folder) throws(LimnError) -> Folder {
    let own = Folder(path: folder.path("visual_encoder"))
    let adapter: Adapter? =
      if let place = self.adapter("visual_encoder_adapter", of: folder) { try Adapter(place) } else { nil }
    let name = adapter?.baseName ?? usualTower
    guard let tower = own.has("config.json") ? own : folder.related(name) else {
      throw OriginalParts.towerMissing(name, folder, namedBy: folder.path)
    }
    var names = CanonicalWeights()
    try names.add(try RawWeights.folder(tower).tensors, TensorNames.clip, tower.path)
    try adapter?.apply(to: &names, TensorNames.clip)
    try model.names.add(names, tower.path)
    model.config.vision = try OriginalParts.visionConfig(tower)
    model.parts.append(tower.absolute)
    return tower
  }

  private static func addProjector(_ model: inout ModelAssembly, _ folder: Folder) throws(LimnError) {
    let fields = FieldReader(json: try folder.json("config.json") ?? .null, place: folder.path("config.json"))
    guard try fields.int("depth") ?? 2 == 2 else {
      throw fields.wrong("depth", expected: "2: limn runs projectors of two layers")
    }
    let width = model.config.vision?.hidden ?? 0
    guard try fields.int("visual_hidden_size") ?? width == width else {
      throw fields.wrong("visual_hidden_size", expected: "\(width), the vision tower's hidden size")
    }
    guard try fields.int("llm_hidden_size") ?? model.config.language.hidden == model.config.language.hidden else {
      throw fields.wrong(
        "llm_hidden_size", expected: "\(model.config.language.hidden), the language model's hidden size")
    }
    model.config.projector = ProjectorConfig(activation: try fields.gelu("hidden_act") ?? .erf)
    try model.names.add(try RawWeights.folder(folder).tensors, TensorNames.xtunerProjector, folder.path)
  }
}
