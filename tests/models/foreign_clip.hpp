#pragma once
// CLIPs under the names of OpenAI and open_clip.
#include <string>
#include <vector>

#include "clip/io/safetensors.hpp"
#include "clip/models/clip.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/permute.hpp"

namespace clip::test {

inline void replace(std::string& text, const std::string& from, const std::string& to) {
  if (const std::size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

/// A model's tensors under OpenAI's names; `text` stands before those of the text tower.
inline std::vector<NamedTensor> foreign_clip(Clip& model, const std::string& prefix, const std::string& text,
                                             dtype type) {
  std::vector<NamedTensor> tensors;
  std::vector<Tensor> joined;
  for (const Member& member : members(model)) {
    std::string name = member.name;
    Tensor tensor = *member.tensor;
    const bool visual = name.starts_with("vision_model.") || name.starts_with("visual");
    replace(name, "vision_model.embeddings.patch_embedding.weight", "conv1.weight");
    for (const char* tower : {"vision_model.", "text_model."}) replace(name, tower, "");
    replace(name, "embeddings.class_embedding", "class_embedding");
    replace(name, "embeddings.token_embedding", "token_embedding");
    replace(name, "embeddings.position_embedding.weight", "positional_embedding");
    replace(name, "pre_layrnorm", "ln_pre");
    replace(name, "post_layernorm", "ln_post");
    replace(name, "final_layer_norm", "ln_final");
    replace(name, "encoder.layers", "transformer.resblocks");
    replace(name, "layer_norm", "ln_");
    replace(name, "mlp.fc1", "mlp.c_fc");
    replace(name, "mlp.fc2", "mlp.c_proj");
    replace(name, "self_attn.out_proj", "attn.out_proj");
    if (name.ends_with("projection.weight")) {
      name = visual ? "proj" : "text_projection";
      tensor = transpose(tensor);
    }
    if (member.name == "logit_scale") {
      tensors.push_back({prefix + name, tensor});
      continue;
    }
    name = prefix + (visual ? "visual." : text) + name;
    tensors.push_back({name, type == dtype::f32 || name.find("ln_") != std::string::npos ? tensor : to(tensor, type)});
  }
  std::vector<NamedTensor> out;  // q, k and v as one
  for (const NamedTensor& one : tensors) {
    const std::size_t at = one.name.find("self_attn.q_proj.");
    if (one.name.find("self_attn.k_proj.") != std::string::npos ||
        one.name.find("self_attn.v_proj.") != std::string::npos)
      continue;
    if (at == std::string::npos) {
      out.push_back(one);
      continue;
    }
    std::vector<Tensor> three;
    for (const char kind : {'q', 'k', 'v'}) {
      std::string name = one.name;
      name[at + 10] = kind;
      for (const NamedTensor& other : tensors)
        if (other.name == name) three.push_back(other.tensor);
    }
    std::string name = one.name;
    replace(name, "self_attn.q_proj.", "attn.in_proj_");
    out.push_back({name, concat(three)});
  }
  return out;
}

/// What OpenAI's archives hold beside the weights.
inline void add_constants(std::vector<NamedTensor>& tensors) {
  for (const char* name : {"input_resolution", "context_length", "vocab_size"})
    tensors.push_back({name, zeros({}, dtype::i64)});
}

}  // namespace clip::test
