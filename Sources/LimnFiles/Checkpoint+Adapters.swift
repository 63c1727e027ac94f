package import LimnCore
import LimnTensor

extension Checkpoint {
  /// The same model with adapters (LoRA, as peft writes them), which sequences select by index.
  /// - Parameter folders: each holds adapter_config.json and the adapter's weights. The base that they name does not
  ///   matter; only their shapes must match this model's.
  /// - Throws: `notFound` if an adapter is missing, bad data if it does not fit or is not plain LoRA.
  package func with(adapters folders: [String]) throws(LimnError) -> Checkpoint {
    var adapted = self
    for (index, folder) in folders.enumerated() {
      let updates = try Adapter(Folder(path: folder)).updates(to: weights, TensorNames.place)
      for (name, update) in updates { adapted.weights[name]?.adapters[index] = update }
    }
    return adapted
  }
}
