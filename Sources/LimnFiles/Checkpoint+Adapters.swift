package import LimnCore
import LimnTensor

extension Checkpoint {
  /// The same model with adapters (LoRA, as peft writes them) that sequences may use, each by its index.
  /// - Parameter folders: with adapter_config.json and the adapter's weights. Which base they name does not matter, only
  ///   that its shapes are this model's.
  /// - Throws: `notFound` for what is not there, bad data for an adapter that does not fit or is no plain LoRA.
  package func with(adapters folders: [String]) throws(LimnError) -> Checkpoint {
    var adapted = self
    for (index, folder) in folders.enumerated() {
      let updates = try Adapter(Folder(path: folder)).updates(to: weights, TensorNames.place)
      for (name, update) in updates { adapted.weights[name]?.adapters[index] = update }
    }
    return adapted
  }
}
