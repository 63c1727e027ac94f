import LimnFiles
import Testing

@Suite("Tensor names") struct TensorNamesTests {
  @Test(
    "every naming scheme maps to the canonical name",
    arguments: [
      // Hugging Face: old, 4.52 and later, as transformers 5 writes
      (
        "language_model.model.layers.3.self_attn.q_proj.weight",
        "language_model.layers.3.self_attn.q_proj.weight"
      ),
      (
        "model.language_model.layers.3.mlp.gate_up_proj.weight",
        "language_model.layers.3.mlp.gate_up_proj.weight"
      ),
      ("language_model.lm_head.weight", "lm_head.weight"),
      ("lm_head.bias", "lm_head.bias"),
      ("language_model.model.embed_tokens.weight", "language_model.embed_tokens.weight"),
      ("vision_tower.vision_model.embeddings.class_embedding", "vision_tower.embeddings.class_embedding"),
      ("model.vision_tower.vision_model.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"),
      ("vision_tower.encoder.layers.22.mlp.fc2.bias", "vision_tower.encoder.layers.22.mlp.fc2.bias"),
      (
        "model.vision_tower.embeddings.patch_embedding.weight",
        "vision_tower.embeddings.patch_embedding.weight"
      ),
      ("multi_modal_projector.linear_1.weight", "multi_modal_projector.linear_1.weight"),
      ("model.multi_modal_projector.linear_2.bias", "multi_modal_projector.linear_2.bias"),
      ("model.image_newline", "image_newline"),
      ("image_newline", "image_newline"),
      // original LLaVA
      (
        "model.layers.0.post_attention_layernorm.weight",
        "language_model.layers.0.post_attention_layernorm.weight"
      ),
      ("model.norm.weight", "language_model.norm.weight"),
      ("model.mm_projector.0.weight", "multi_modal_projector.linear_1.weight"),
      ("model.mm_projector.2.bias", "multi_modal_projector.linear_2.bias"),
      ("base_model.model.model.mm_projector.2.weight", "multi_modal_projector.linear_2.weight"),
      (
        "model.vision_tower.vision_tower.vision_model.encoder.layers.1.self_attn.out_proj.weight",
        "vision_tower.encoder.layers.1.self_attn.out_proj.weight"
      ),
      // Phi-2
      ("language_model.model.layers.1.self_attn.dense.bias", "language_model.layers.1.self_attn.o_proj.bias"),
      ("model.language_model.final_layernorm.weight", "language_model.norm.weight"),
      ("model.layers.1.mlp.fc1.weight", "language_model.layers.1.mlp.fc1.weight"),
      // Mipha and LLaVA-Phi; VipLLaVA; Yi-VL
      (
        "model.vision_tower.vision_model.embeddings.patch_embedding.bias",
        "vision_tower.embeddings.patch_embedding.bias"
      ),
      ("multi_modal_projector.projector_layernorm.bias", "multi_modal_projector.projector_layernorm.bias"),
      ("model.mm_projector.1.weight", "multi_modal_projector.norm_1.weight"),
      ("model.mm_projector.3.bias", "multi_modal_projector.linear_2.bias"),
      ("model.mm_projector.4.bias", "multi_modal_projector.norm_2.bias"),
      // bitsandbytes stores companions with a weight
      (
        "model.language_model.layers.0.mlp.up_proj.weight.absmax",
        "language_model.layers.0.mlp.up_proj.weight.absmax"
      ),
    ])
  func canonical(name: String, expected: String) {
    #expect(TensorNames.place(of: name) == .named(expected))
  }

  @Test(
    "a canonical name maps to itself",
    arguments: [
      "language_model.layers.7.mlp.down_proj.weight", "vision_tower.post_layernorm.weight", "lm_head.weight",
      "multi_modal_projector.linear_1.bias", "language_model.norm.bias", "multi_modal_projector.norm_2.weight",
      "multi_modal_projector.projector_layernorm.weight",
    ])
  func fixedPoints(name: String) {
    #expect(TensorNames.place(of: name) == .named(name))
  }

  @Test("of a whole CLIP or SigLIP only the tower is used; its text half and pooling are unused")
  func clip() {
    #expect(
      TensorNames.clip("vision_model.encoder.layers.0.layer_norm1.weight")
        == .named("vision_tower.encoder.layers.0.layer_norm1.weight"))
    for name in [
      "text_model.encoder.layers.0.mlp.fc1.weight", "logit_scale", "visual_projection.weight",
      "text_projection.weight", "vision_model.embeddings.position_ids", "vision_model.head.probe", "logit_bias",
    ] {
      #expect(TensorNames.clip(name) == .leftover)
    }
    #expect(TensorNames.xtunerProjector("model.0.weight") == .named("multi_modal_projector.linear_1.weight"))
  }

  @Test("frequencies and position ids are unused")
  func leftovers() {
    #expect(TensorNames.place(of: "model.layers.0.self_attn.rotary_emb.inv_freq") == .leftover)
    #expect(TensorNames.place(of: "vision_tower.vision_model.embeddings.position_ids") == .leftover)
  }

  @Test(
    "names without a place in the model are unknown",
    arguments: [
      "", "weight", "model", "model.", "model.layers.x.mlp.up_proj.weight", "model.layers.0.mlp.up_proj",
      "model.layers.-1.mlp.up_proj.weight", "model.layers.0.mlp.experts.0.weight",
      "model.mm_projector.5.weight",
      "transformer.h.0.attn.weight", "model.image_newline.weight", "a", "vision_tower.neck.weight",
    ])
  func unknown(name: String) {
    #expect(TensorNames.place(of: name) == .unknown)
  }
}
