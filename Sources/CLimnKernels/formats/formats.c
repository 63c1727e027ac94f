// Generated from formats.def: the table of weight formats, and the choice of the function that fills in a recipe.
#include "kernels.h"

const limn_format *limn_format_of(limn_type type) {
  static const limn_format formats[LIMN_TYPES] = {
#define LIMN_FORMAT(name, function, spelling, ggml, elements, bytes, encoder) \
  [LIMN_##name] = {spelling, ggml, elements, bytes},
#include "formats.def"
  };
  return &formats[type];
}

int limn_recipe_init(limn_recipe *recipe, limn_isa isa, limn_type type, limn_arithmetic arithmetic) {
  if (!limn_isa_supported(isa)) return 0;
  // Without the dot product, float32 vectors are faster than scalar integer code.
  if (isa == LIMN_NEON && arithmetic == LIMN_INT8 && !limn_has_dotprod()) return 0;
  const limn_format *format = limn_format_of(type);
  *recipe = (limn_recipe){
    .isa = isa,
    .weight_bytes = (size_t)(LIMN_BLOCK / format->elements * format->bytes),
    .tile_tokens = LIMN_TILE_TOKENS,
    // AVX2 has 16 registers; 16 rows take two for the weights and two for each token's sums.
    .pass_tokens = isa == LIMN_AVX2 ? 6 : LIMN_TILE_TOKENS,
  };
  static int (*const choose[LIMN_TYPES])(limn_recipe *, limn_isa, limn_arithmetic) = {
#define LIMN_FORMAT(name, function, spelling, ggml, elements, bytes, encoder) [LIMN_##name] = limn_recipe_##function,
#include "formats.def"
  };
  // AMX multiplies bfloat16 at four times the rate of VNNI's integers, and needs no scales within a block. Elsewhere only
  // weights that are bfloat16 themselves are worth that rounding.
  if (arithmetic == LIMN_BFLOAT16 && type != LIMN_BF16)
    return (isa == LIMN_SCALAR || limn_has_amx()) && choose[type](recipe, isa, LIMN_FLOAT32)
      && limn_products_bfloat16(recipe, isa, type);
  return choose[type](recipe, isa, arithmetic);
}
