// What the files of this target declare for one another: operations install their kernels, formats fill in recipes, and
// the products below are shared by the formats.
#pragma once
#include "limn_kernels.h"

int limn_has_avx_vnni(void);  // in the registers of AVX2
int limn_has_vnni(void);
int limn_has_bf16(void);  // bfloat16 products that are faster than float32's
int limn_has_amx(void);
int limn_has_dotprod(void);

/// Asks the system for AMX's registers; returns whether this process may use them.
int limn_amx_allowed(void);
/// To be called before a thread's first product of a recipe that `uses_amx`, and after its last: a core whose tile
/// registers are in use cannot enter its deepest idle states.
void limn_amx_begin(void);
void limn_amx_end(void);

void limn_install_linear(limn_kernels *kernels);
void limn_install_norm(limn_kernels *kernels);
void limn_install_rope(limn_kernels *kernels);
void limn_install_kv(limn_kernels *kernels);
void limn_install_attention(limn_kernels *kernels);
void limn_install_attention_in_place(limn_kernels *kernels);
void limn_install_activation(limn_kernels *kernels);
void limn_install_ceilings(limn_kernels *kernels);
void limn_install_low_rank(limn_kernels *kernels);
void limn_install_bitsandbytes(limn_kernels *kernels);
void limn_install_grouped(limn_kernels *kernels);

// One function for each format, which says how it is multiplied, and the size of its blocks. limn_recipe_init fills in
// beforehand what follows from the block size and the instruction set. The functions return 0 where the instruction set
// lacks the arithmetic for the format.
#define LIMN_FORMAT(name, function, spelling, ggml, elements, bytes, encoder)                \
  int limn_recipe_##function(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic); \
  enum { LIMN_##name##_BYTES = bytes };
#include "formats.def"

// MARK: Tiles

/// Multiplies C tokens at a time while at least C are left, by tile(panel, xt, x_stride, acc, acc_stride, …, C). It
/// stands in the body of a limn_multiply whose parameters have their usual names, and advances `xt`, `acc` and
/// `tokens`.
#define LIMN_TILES(C, tile, ...)                                              \
  for (; tokens >= C; tokens -= C, xt += C * x_stride, acc += C * acc_stride) \
    tile(panel, xt, x_stride, acc, acc_stride __VA_OPT__(, ) __VA_ARGS__, C);

/// Scratch of `multiply_few` for each block of columns: the scales of 16 rows by 8 groups with what belongs to x, and
/// for each token the sums of 16 rows by 8 groups. (The K formats need less.)
enum { LIMN_FEW_SCALES = 8 * (16 + 1) * 4, LIMN_FEW_SUMS = 8 * 16 * 4 };

#if defined(__x86_64__)
/// Sets multiply_few. `avx2` serves up to `tokens` tokens, but with VNNI only one, or `vnni` does if there is such a
/// function. (With VNNI, panels keep up with memory for more than one token; whether they would gain here is not
/// measured.)
static inline void limn_take_few(
  limn_recipe *recipe, limn_isa isa, limn_multiply_few *avx2, int tokens, limn_multiply_few *vnni) {
  if (isa == LIMN_SCALAR) return;
  const int has_vnni = isa == LIMN_AVX512 && limn_has_vnni();
  recipe->multiply_few = has_vnni && vnni ? vnni : avx2;
  recipe->few_tokens = has_vnni ? 1 : tokens;
}
#endif

/// Makes AMX's product the recipe's.
static inline void limn_take_amx(limn_recipe *recipe, limn_multiply *multiply) {
  recipe->multiply = multiply;
  recipe->tile_tokens = recipe->pass_tokens = LIMN_MOST_TOKENS;
  recipe->uses_amx = 1;
}

// MARK: float32: panels [column][row]

/// Sets panel size, `prepare` and `multiply`, and an `unpack` that works for every format by way of `dequantize`.
void limn_products_float32(limn_recipe *recipe, limn_isa isa);

// MARK: float32: panels [row][column]

/// The same for decoding, reading rows in memory order; a single token of F32, F16 or BF16 needs no panel. Returns 1.
int limn_products_rows(limn_recipe *recipe, limn_isa isa, limn_type type);

// MARK: bfloat16: panels [column / 2][row][2]

/// The same for bfloat16, from F32, F16 or BF16; returns 0 where the instruction set has no such product.
int limn_products_bfloat16(limn_recipe *recipe, limn_isa isa, limn_type type);

// MARK: int16 with a float scale for every row and 32 columns: panels [column / 2][row][2]

/// weight[r, k] ≈ d[k / 32][r] · q, |q| ≤ 8191
typedef struct {
  int16_t q[LIMN_BLOCK / 2][LIMN_PANEL_ROWS][2];
  float d[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
} limn_panel_16;

/// x[k] ≈ d[k / 32] · q, |q| ≤ 8191
typedef struct {
  int16_t q[LIMN_BLOCK];
  float d[LIMN_BLOCK / 32];
  float unused[8];
} limn_x_16;

/// Like limn_products_float32; returns 0 where the instruction set has no such product, or another that is as fast.
int limn_products_int16(limn_recipe *recipe, limn_isa isa);

/// The same for a recipe whose `unpack` writes limn_panel_32 with |q − offset| ≤ 128; returns 0 where the format's own
/// product is as fast.
int limn_products_int16_of_32(limn_recipe *recipe, limn_isa isa);

// MARK: int8 with a float scale for every 32 columns: Q8_0, Q4_0, Q5_0, IQ4_NL, IQ4_XS, MXFP4, bitsandbytes'

/// weight[r, k] = d[k / 32][r] · (q − offset)
typedef struct {
  uint8_t q[LIMN_BLOCK / 4][LIMN_PANEL_ROWS][4];
  float d[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
  int32_t offset;
  int32_t unused[15];
} limn_panel_32;

/// x[k] ≈ d[k / 32] · q; `sums` are Σ q over 32 columns.
typedef struct {
  int8_t q[LIMN_BLOCK];
  float d[LIMN_BLOCK / 32];
  int32_t sums[LIMN_BLOCK / 32];
} limn_x_32;

/// Sets panel size, `prepare` and `multiply`, for panels with q ≤ largest_q.
void limn_products_int8_32(limn_recipe *recipe, limn_isa isa, int largest_q);

// MARK: int8 with a float scale and minimum for every 32 columns: Q4_1, Q5_1

/// weight[r, k] = d[k / 32][r] · q + m[k / 32][r], with q < 32; activations are limn_x_32.
typedef struct {
  uint8_t q[LIMN_BLOCK / 4][LIMN_PANEL_ROWS][4];
  float d[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
  float m[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
} limn_panel_32_min;

void limn_products_int8_32_min(limn_recipe *recipe, limn_isa isa);

/// The arithmetics of Q4_0, Q4_1, Q5_0 and Q5_1, whose `unpack` writes limn_panel_32, or limn_panel_32_min if the
/// format `has_minimum`, with q ≤ largest_q < 32. LIMN_INT8 stays as it is; for LIMN_INT8_32, scales become integers and
/// limn_products_int8_k_32 is used. Returns 0 where the instruction set has no such product.
int limn_products_of_32(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic, int largest_q, int has_minimum);

// MARK: int8 with integer scales in blocks of 256 columns: the K formats, IQ1 to IQ3, TQ

/// weight[r, k] = d[r] · scale[k / G][r] · q − dmin[r] · min[k / G][r], where G is 16 or 32 columns.
typedef struct {
  uint8_t q[LIMN_BLOCK / 4][LIMN_PANEL_ROWS][4];
  int32_t scale[16][LIMN_PANEL_ROWS];
  int16_t min[8][LIMN_PANEL_ROWS][2];  // [group / 2][row][group % 2]
  float d[LIMN_PANEL_ROWS];
  float dmin[LIMN_PANEL_ROWS];
} limn_panel_k;

/// x[k] ≈ d · q; `sums` are Σ q over each group of G columns. `start` is for limn_products_centred_avx2 only: of each
/// four columns of a group the first two are summed, and the last two, times −32.
typedef struct {
  int8_t q[LIMN_BLOCK];
  int16_t sums[16];
  float d;
  float unused[7];
  int16_t start[16][2];
} limn_x_k;

/// The same for limn_products_int8_k_32: x[k] ≈ d[k / 32] · q; `sums` are d · Σ q over each group of G columns, `start`
/// what the sums of Q6_K's groups begin with: −32 · Σ q, or its two halves.
typedef struct {
  int8_t q[LIMN_BLOCK];
  float d[LIMN_BLOCK / 32];
  float sums[16];
  int32_t start[16];
} limn_x_k_32;

/// `group` is 16 or 32, and q ≤ largest_q ≤ 128, so that the sum of two products fits 16 bits. The integers are exact:
/// |Σ scale · q · x| < 2³¹ for scales of 8 bits and q of 6, for scales of 5 and q of 7, or for scales of 12 (11) and q
/// of 4 (5).
void limn_products_int8_k(limn_recipe *recipe, limn_isa isa, int group, int largest_q);

/// For prefill: the same panels, activations with a scale for every 32 columns. Groups of 16 with q up to 63 are Q6_K's,
/// whose panels stand for q − 32. Returns 0 where the instruction set has
/// no such product.
int limn_products_int8_k_32(limn_recipe *recipe, limn_isa isa, int group, int largest_q);

#if defined(__x86_64__)
/// Replaces the product of limn_products_int8_k for Q6_K, whose panels stand for q − 32 (min / scale = 32) in groups of
/// 16.
void limn_products_centred_avx2(limn_recipe *recipe);
/// The `prepare` of limn_products_int8_k for groups of 16.
void limn_prepare_k_16_avx2(const float *x, limn_x_k *prepared, int columns);
#endif

// MARK: Attention

/// The head size, rounded up to whole steps of unpacking.
static inline ptrdiff_t limn_attention_width(const limn_attention_job *job) {
  return (job->head_size + 31) & ~(ptrdiff_t)31;
}

// MARK: int8 on ARM, for processors that `limn_has_dotprod`

limn_multiply limn_multiply_32_neon, limn_multiply_k_16_neon, limn_multiply_k_32_neon;
