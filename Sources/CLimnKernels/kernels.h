// How the files of this target find one another: each operation installs its kernels, each weight format its recipe,
// and formats share the products below.
#pragma once
#include "limn_kernels.h"

int limn_has_avx_vnni(void);  // in the registers of AVX2
int limn_has_vnni(void);
int limn_has_bf16(void);  // products of bfloat16 pairs that are faster than float32's
int limn_has_amx(void);
int limn_has_dotprod(void);

/// Whether the system lets this process have AMX's registers.
int limn_amx_allowed(void);
/// Before a thread's first product of a recipe that `uses_amx`, and behind its last: a core with tiles in use rests less deeply.
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

// How each format is multiplied, and the size of its blocks. limn_recipe_init has filled in what follows from that and from the
// instruction set; the functions return 0 where the instruction set has no such arithmetic for the format.
#define LIMN_FORMAT(name, function, spelling, ggml, elements, bytes, encoder)                \
  int limn_recipe_##function(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic); \
  enum { LIMN_##name##_BYTES = bytes };
#include "formats.def"

// MARK: Tiles

/// As many tiles of C tokens as are left; the rest of the arguments, then C, go to `tile`.
#define LIMN_TILES(C, tile, ...)                                              \
  for (; tokens >= C; tokens -= C, xt += C * x_stride, acc += C * acc_stride) \
    tile(panel, xt, x_stride, acc, acc_stride __VA_OPT__(, ) __VA_ARGS__, C);

/// Scratch of `multiply_few` for each block of columns: 16 rows' scales of 8 groups and what belongs to x; and for each token
/// the 16 rows' sums. (The K formats need less.)
enum { LIMN_FEW_SCALES = 8 * (16 + 1) * 4, LIMN_FEW_SUMS = 8 * 16 * 4 };

#if defined(__x86_64__)
/// `avx2` serves up to `tokens` tokens; with VNNI one only, or `vnni` does. (More than one take panels there, which keep up
/// with memory; whether they would gain is not measured.)
static inline void limn_take_few(
  limn_recipe *recipe, limn_isa isa, limn_multiply_few *avx2, int tokens, limn_multiply_few *vnni) {
  if (isa == LIMN_SCALAR) return;
  const int has_vnni = isa == LIMN_AVX512 && limn_has_vnni();
  recipe->multiply_few = has_vnni && vnni ? vnni : avx2;
  recipe->few_tokens = has_vnni ? 1 : tokens;
}
#endif

/// A recipe's products become AMX's.
static inline void limn_take_amx(limn_recipe *recipe, limn_multiply *multiply) {
  recipe->multiply = multiply;
  recipe->tile_tokens = recipe->pass_tokens = LIMN_MOST_TOKENS;
  recipe->uses_amx = 1;
}

// MARK: float32: panels [column][row]

/// Sets panel size, prepare and multiply, and an unpack that works for every format by way of `dequantize`.
void limn_products_float32(limn_recipe *recipe, limn_isa isa);

// MARK: float32: panels [row][column]

/// The same for answers, in the order of memory; one token of F32, F16 and BF16 needs no panel. Returns 1.
int limn_products_rows(limn_recipe *recipe, limn_isa isa, limn_type type);

// MARK: bfloat16: panels [column / 2][row][2]

/// The same for bfloat16, from F32, F16 or BF16; returns 0 where the instruction set has no such product.
int limn_products_bfloat16(limn_recipe *recipe, limn_isa isa, limn_type type);

// MARK: int16 with a float scale for every row and block: panels [column / 2][row][2]

/// weight[r, k] ≈ d[r] · q, |q| ≤ 2047
typedef struct {
  int16_t q[LIMN_BLOCK / 2][LIMN_PANEL_ROWS][2];
  float d[LIMN_PANEL_ROWS];
} limn_panel_16;

/// x[k] ≈ d · q, |q| ≤ 4095
typedef struct {
  int16_t q[LIMN_BLOCK];
  float d;
  float unused[15];
} limn_x_16;

/// As limn_products_float32; returns 0 where the instruction set has no such product, or something as fast.
int limn_products_int16(limn_recipe *recipe, limn_isa isa);

/// Of a recipe whose `unpack` makes panels of limn_panel_32 with |q − offset| ≤ largest_q; returns 0 where its own products
/// are as fast.
int limn_products_int16_of_32(limn_recipe *recipe, limn_isa isa, int largest_q);

// MARK: int8 with a float scale for every 32 columns: Q8_0, Q4_0, Q5_0, IQ4_NL, IQ4_XS, MXFP4, bitsandbytes'

/// weight[r, k] = d[k / 32][r] · (q − offset)
typedef struct {
  uint8_t q[LIMN_BLOCK / 4][LIMN_PANEL_ROWS][4];
  float d[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
  int32_t offset;
  int32_t unused[15];
} limn_panel_32;

/// x[k] ≈ d[k / 32] · q; sums are those of q over 32 columns.
typedef struct {
  int8_t q[LIMN_BLOCK];
  float d[LIMN_BLOCK / 32];
  int32_t sums[LIMN_BLOCK / 32];
} limn_x_32;

/// q ≤ largest_q in the format's panels.
void limn_products_int8_32(limn_recipe *recipe, limn_isa isa, int largest_q);

// MARK: int8 with a float scale and minimum for every 32 columns: Q4_1, Q5_1

/// weight[r, k] = d[k / 32][r] · q + m[k / 32][r], with q < 32; activations are limn_x_32.
typedef struct {
  uint8_t q[LIMN_BLOCK / 4][LIMN_PANEL_ROWS][4];
  float d[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
  float m[LIMN_BLOCK / 32][LIMN_PANEL_ROWS];
} limn_panel_32_min;

void limn_products_int8_32_min(limn_recipe *recipe, limn_isa isa);

/// Of a recipe whose `unpack` makes panels of limn_panel_32, or limn_panel_32_min where a format `has_minimum`, with
/// q ≤ largest_q < 32: LIMN_INT8 as it is, and for prompts the products below, by way of scales that are integers. Returns 0
/// where the instruction set has no such product.
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

/// x[k] ≈ d · q; sums are those of q over each group of G columns. `start`, for limn_products_centred_avx2 only: −32 times
/// the sums over the first two and the last two of each four columns of a group.
typedef struct {
  int8_t q[LIMN_BLOCK];
  int16_t sums[16];
  float d;
  float unused[7];
  int16_t start[16][2];
} limn_x_k;

/// weight[r, k] ≈ d[r] · q; bias is −128 · Σₖ q.
typedef struct {
  int8_t q[LIMN_BLOCK / 4][LIMN_PANEL_ROWS][4];
  int32_t bias[LIMN_PANEL_ROWS];
  float d[LIMN_PANEL_ROWS];
} limn_panel_r;

/// x[k] ≈ d · (q − 128)
typedef struct {
  uint8_t q[LIMN_BLOCK];
  float d;
  float unused[3];
} limn_x_r;

/// Of a recipe whose `unpack` makes panels of limn_panel_k with q ≤ largest_q; returns 0 where the instruction set has no
/// such product.
int limn_products_requantized(limn_recipe *recipe, limn_isa isa, int group, int largest_q);

/// `group` is 16 or 32, q ≤ largest_q ≤ 128, so that two products fit 16 bits. The integers are exact:
/// |Σ scale · q · x| < 2³¹ for scales of 8 bits and q of 6, scales of 5 and q of 7, or scales of 12 (11) and q of 4 (5).
void limn_products_int8_k(limn_recipe *recipe, limn_isa isa, int group, int largest_q);

#if defined(__x86_64__)
/// Instead of what limn_products_int8_k takes for Q6_K, whose panels have q − 32 = q − min / scale in groups of 16.
void limn_products_centred_avx2(limn_recipe *recipe);
/// limn_products_int8_k's activations, for groups of 16.
void limn_prepare_k_16_avx2(const float *x, limn_x_k *prepared, int columns);
#endif

// MARK: Attention

/// The head size, filled up to whole steps of unpacking.
static inline ptrdiff_t limn_attention_width(const limn_attention_job *job) {
  return (job->head_size + 31) & ~(ptrdiff_t)31;
}

// MARK: int8 on ARM, for processors that `limn_has_dotprod`

limn_multiply limn_multiply_32_neon, limn_multiply_k_16_neon, limn_multiply_k_32_neon;
