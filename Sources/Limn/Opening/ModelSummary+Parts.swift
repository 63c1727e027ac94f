package import LimnFiles
import LimnImage
import LimnTensor
import LimnText

extension ModelSummary {
  /// What as much of a model says as could be opened.
  package init(_ parts: ModelParts) {
    name = parts.name
    layout = parts.checkpoint?.layout.rawValue
    self.parts = parts.checkpoint?.parts ?? []
    if let checkpoint = parts.checkpoint {
      count(checkpoint)
    } else if let survey = parts.survey {
      count(survey)
    }
    if let config = parts.config { describe(config, context: parts.context) }
    if let tokenizer = parts.tokenizer { describe(tokenizer, imageToken: parts.config?.imageTokenID) }
    template = parts.conversation.map(Template.init)
    stopTexts = parts.conversation?.stops ?? []
    stopTokens = parts.stopIDs.sorted().map { Token(id: $0, text: parts.tokenizer?.piece($0)) }
  }

  /// What a checkpoint of which the headers alone may be here says; without its tokenizer.
  package init(_ checkpoint: Checkpoint) {
    name = checkpoint.name
    layout = checkpoint.layout.rawValue
    parts = checkpoint.parts
    count(checkpoint)
    describe(checkpoint.config, context: nil)
    stopTokens = checkpoint.endOfGenerationIDs.sorted().map { Token(id: $0) }
  }

  // MARK: Weights

  private mutating func count(_ checkpoint: Checkpoint) {
    for (name, weight) in checkpoint.weights {
      parameters.add(weight.count, of: name)
      add(weight.typeName, bytes: weight.byteCount)
    }
    sortTypes()
    var sizes: [String: Int] = [:]
    for memory in checkpoint.weights.values.flatMap(\.memories) {
      if let path = memory.path { sizes[path] = memory.size }
    }
    files = sizes.sorted { $0.key < $1.key }.map { File(path: $0.key, bytes: $0.value) }
  }

  private mutating func count(_ survey: CheckpointSurvey) {
    for entry in survey.tensors {
      if let name = entry.modelName, !entry.isCompanion { parameters.add(entry.tensor.count, of: name) }
      add(entry.tensor.type.rawValue, bytes: entry.tensor.range.count)
    }
    sortTypes()
    files = survey.files.map { File(path: $0.path, bytes: $0.bytes) }
  }

  private mutating func add(_ type: String, bytes: Int) {
    if let place = types.firstIndex(where: { $0.type == type }) {
      types[place].tensors += 1
      types[place].bytes += bytes
    } else {
      types.append(TypeShare(type: type, tensors: 1, bytes: bytes))
    }
  }

  private mutating func sortTypes() { types.sort { ($0.bytes, $0.type) > ($1.bytes, $1.type) } }

  // MARK: Config and tokenizer

  private mutating func describe(_ config: ModelConfig, context: Int?) {
    let text = config.language
    language = Language(
      architecture: text.architecture.rawValue, layers: text.layers, hidden: text.hidden, heads: text.heads,
      kvHeads: text.kvHeads, headSize: text.headSize, ffn: text.ffn, vocabulary: text.vocabulary,
      slidingWindow: text.slidingWindow)
    let bytes = KVType.allCases.map { type in
      (type.rawValue, 2 * text.layers * text.kvHeads * type.bytes(headSize: text.headSize))
    }
    self.context = Context(
      trained: text.maxPositions, used: context ?? text.usualContext,
      keyValueBytesPerPosition: Dictionary(uniqueKeysWithValues: bytes))
    guard let tower = config.vision else { return }
    vision = Vision(
      family: tower.family.rawValue, layers: tower.layers, usedLayers: config.usedVisionLayers, hidden: tower.hidden,
      heads: tower.heads, ffn: tower.ffn, imageSize: tower.imageSize, patchSize: tower.patchSize)
    projector = config.projector.map { projector in
      Projector(
        kind: "mlp", hasNorms: projector.inputNorm != nil || projector.layerNorms != nil,
        featureLayers: config.featureLayers)
    }
    images = Images(config, tower)
  }

  private mutating func describe(_ tokenizer: Tokenizer, imageToken: Int?) {
    tokens = tokenizer.vocabularySize
    images?.token = imageToken.map { Token(id: $0, text: tokenizer.piece($0)) }
  }
}

extension ModelSummary.Parameters {
  /// Counts a weight by its canonical name.
  fileprivate mutating func add(_ count: Int, of name: String) {
    if name.hasPrefix("vision_tower.") {
      vision += count
    } else if name.hasPrefix("multi_modal_projector.") || name == "image_newline" {
      projector += count
    } else {
      language += count
    }
  }
}

extension ModelSummary.Images {
  fileprivate init(_ config: ModelConfig, _ tower: VisionConfig) {
    let side = tower.patchesPerSide
    isTiled = config.family == .llavaNext
    tokensPerTile = side * side + (tower.hasClassToken ? 1 : 0) - (config.keepsClassToken ? 0 : 1)
    grids = isTiled ? config.gridPinpoints.map { [$0.height, $0.width] } : []
    (maxTiles, maxTokens) = (1, tokensPerTile)
    for grid in grids {
      let size = PixelSize(height: grid[0], width: grid[1])
      let tiles = AnyRes.grid(of: size, tileSide: tower.imageSize)
      maxTiles = max(maxTiles, 1 + tiles.tiles)
      maxTokens = max(maxTokens, AnyRes.imageTokens(originalSize: size, grid: tiles, patchesPerSide: side))
    }
    token = config.imageTokenID.map { ModelSummary.Token(id: $0) }
  }
}

extension ModelSummary.Template {
  fileprivate init(_ conversation: ConversationFormat) {
    switch conversation.origin {
    case .named: self.init(origin: .named, name: conversation.builtInName)
    case .checkpoint(let file, _): self.init(origin: .checkpoint, file: file)
    case .chosen: self.init(origin: .chosen, name: conversation.builtInName)
    }
  }
}
