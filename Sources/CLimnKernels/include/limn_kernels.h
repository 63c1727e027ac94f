// The C side of limn: inner loops. Swift fills in a job (a struct of pointers and sizes), and its thread pool calls a
// kernel for ranges of the job's items. Which thread does which range never changes a bit of the result.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Instruction sets. Each has its own instance of every kernel.
typedef enum { LIMN_SCALAR = 0, LIMN_NEON = 1, LIMN_AVX2 = 2, LIMN_AVX512 = 3 } limn_isa;

/// Weight formats that the kernels compute with.
typedef enum {
#define LIMN_FORMAT(name, function, spelling, ggml, elements, bytes, encoder) LIMN_##name,
#include "../formats.def"
  LIMN_TYPES
} limn_type;

/// A row of formats.def.
typedef struct {
  const char *name;     // as files spell it
  int ggml;             // its number in ggml; -1: none
  int elements, bytes;  // of a block
} limn_format;

const limn_format *limn_format_of(limn_type type);

/// What a matrix product multiplies. Prefill is the many tokens of a prompt or an image at once, decoding the few tokens
/// of an answer. Only LIMN_FLOAT32 exists for every format and instruction set.
typedef enum {
  /// Dequantised weights times float32 activations. Every format.
  LIMN_FLOAT32,
  /// bfloat16 times bfloat16. Prefill of BF16, and with AMX of all quantised formats and of attention beside them.
  LIMN_BFLOAT16,
  /// The format's own integers and scales times 8-bit activations. Decoding of quantised formats, and prefill of those
  /// without another arithmetic below.
  LIMN_INT8,
  /// The format's own integers and integer scales times 8-bit activations with a scale for every 32 columns. Prefill of
  /// the K formats, IQ1 to IQ3 and TQ, and of Q4_0, Q4_1, Q5_0 and Q5_1, whose float scales become integers of 11 or 12
  /// bits.
  LIMN_INT8_32,
  /// 14-bit weights times 14-bit activations, each with a scale for every 32 columns. Prefill of F16, BF16 and NVFP4,
  /// and of 8-bit formats, with their own integers, on AVX2 without VNNI.
  LIMN_INT16,
  /// float32, reading weight rows in memory order instead of transposing them. Decoding of F32, F16, BF16 and NVFP4.
  LIMN_FLOAT32_ROWS,
  LIMN_ARITHMETICS
} limn_arithmetic;

/// Does items begin..<end of a job. `scratch` is the calling thread's own memory, aligned to 64 bytes.
typedef void limn_kernel(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch);

enum {
  LIMN_PANEL_ROWS = 16,   // weight rows of a panel
  LIMN_BLOCK = 256,       // columns of a panel, summed before the float accumulators are touched
  LIMN_TILE_TOKENS = 12,  // the most tokens of a `multiply` call without AMX
  LIMN_MOST_TOKENS = 32,  // and with it
};

/// Whether this machine and its operating system can run an instruction set.
int limn_isa_supported(limn_isa isa);
/// "scalar", "neon", "avx2" or "avx512".
const char *limn_isa_name(limn_isa isa);

// MARK: Matrix products

/// acc[t · acc_stride + r] += Σₖ x[t, k] · panel[r, k], over one block of columns, for `tokens` ≤ `tile_tokens`
/// prepared tokens that are `x_stride` bytes apart. The bits of an output depend on its row and its token only. AMX
/// reads tokens in groups of 16; those beyond `tokens` may hold anything.
typedef void limn_multiply(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns);

/// A few prepared tokens times any number of weight rows; `columns` is a multiple of 64.
typedef struct {
  const void *weight;
  size_t row_bytes;
  ptrdiff_t rows, columns;
  const void *x;
  size_t x_stride;  // bytes from token to token
  ptrdiff_t tokens;
  float *y;
  ptrdiff_t y_stride;  // floats from token to token
  void *scratch;       // part of limn_linear_scratch
} limn_few_job;

/// y[t, r] = Σₖ x[t, k] · weight[r, k]
typedef void limn_multiply_few(const limn_few_job *job);

/// How one weight format is multiplied in one arithmetic on one instruction set.
typedef struct limn_recipe {
  /// Bytes of LIMN_BLOCK columns of a weight row.
  size_t weight_bytes;
  /// Bytes of an unpacked panel: LIMN_PANEL_ROWS rows by LIMN_BLOCK columns.
  size_t panel_bytes;
  /// Bytes of LIMN_BLOCK columns of a prepared token.
  size_t x_bytes;
  /// Converts `columns` values of a weight row (whole blocks) to float32.
  void (*dequantize)(const void *blocks, float *values, int columns);
  /// Converts `columns` ≤ LIMN_BLOCK activations to what `multiply` reads.
  void (*prepare)(const float *x, void *prepared, int columns);
  /// Unpacks one block of `columns` of `rows` ≤ LIMN_PANEL_ROWS weight rows that are `row_bytes` apart.
  void (*unpack)(
    const struct limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel);
  limn_multiply *multiply;
  /// The most tokens that `multiply` takes, and how many of them share one pass over a panel.
  int tile_tokens, pass_tokens;
  /// Whether `multiply` is AMX's.
  int uses_amx;
  limn_isa isa;
  /// The product for up to `few_tokens` tokens, which unpacks no panels but gives the bits of `multiply`. few_tokens is
  /// 0 where panels are used even for one token.
  limn_multiply_few *multiply_few;
  int few_tokens;
  /// Where panels are made from the format's own: that unpacking, the format's largest integer, and whether it has
  /// minimums.
  void (*unpack_own)(
    const struct limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel);
  int largest_q, has_minimum;
} limn_recipe;

/// Fills in a recipe; returns 0 where the instruction set lacks this arithmetic for this type.
int limn_recipe_init(limn_recipe *recipe, limn_isa isa, limn_type type, limn_arithmetic arithmetic);

/// Whether a column of a matrix is an eighth as large as another of its 32, or smaller, judged by up to 32 rows: what
/// LIMN_INT16 multiplies less exactly than rounding activations to F16 would.
int limn_has_uneven_columns(const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns);

/// Converts activations to what the recipe multiplies; items: tokens.
typedef struct {
  const limn_recipe *recipe;
  const float *x;  // [tokens, columns]
  ptrdiff_t columns;
  void *prepared;
  size_t prepared_stride;  // bytes from token to token
} limn_prepare_job;

/// y = x · weightᵀ + bias, or y += that. An item is a group of `panels` panels and one of `token_parts` parts of the
/// tokens; parts vary fastest. With more than one tile of tokens, the columns are done in `column_parts` parts, one
/// after another.
typedef struct {
  const limn_recipe *recipe;
  const void *weight;
  size_t row_bytes;
  ptrdiff_t rows, columns;
  const void *prepared;  // with room for a multiple of 16 tokens
  size_t prepared_stride;
  ptrdiff_t tokens;
  ptrdiff_t panels, token_parts, column_parts;
  const float *bias;  // [rows] or NULL
  float *y;           // [tokens, rows]
  int adding;
} limn_linear_job;

/// Chooses `panels`, `token_parts` and `column_parts` for this many threads, and returns the number of items. All other
/// fields must be filled in.
ptrdiff_t limn_plan_linear(limn_linear_job *job, ptrdiff_t threads);
/// Bytes of scratch that the kernel `linear` needs for this job.
size_t limn_linear_scratch(const limn_linear_job *job);
/// The time that one more token adds to a decoding step, in units of a step of one token. Weights are read once for all
/// tokens, so it is well below 1: 0.15 to 0.22 measured with AVX-512, 0.2 to 0.35 with AVX2, for quantised models of
/// some gigabytes. Not measured on ARM.
double limn_further_token_cost(limn_isa isa);

/// y[i] = table[ids[i]], dequantised; items: ids.
typedef struct {
  const limn_recipe *recipe;
  const void *table;
  size_t row_bytes;
  ptrdiff_t columns;
  const int32_t *ids;
  float *y;
} limn_gather_job;

// MARK: The other operations

/// RMSNorm (bias is NULL) or LayerNorm; items: rows.
typedef struct {
  const float *x, *weight, *bias;
  float *y;
  ptrdiff_t width;
  float epsilon;
} limn_norm_job;

/// Rotary position embedding; items: tokens.
typedef struct {
  float *x;  // [tokens, heads, head_size]
  ptrdiff_t heads, head_size, dimensions;
  const float *cosines, *sines;  // [tokens, dimensions / 2], from the first token's position on
  int adjacent;                  // whether value 2i is paired with 2i + 1, or i with i + dimensions / 2
} limn_rope_job;

/// Writes keys or values into a cache; items: tokens.
typedef struct {
  const float *x;                     // [tokens, heads, head_size]
  void *cache;                        // from the first token's position on
  limn_type type;                     // F32, F16, or Q8_0: blocks along a head, the last one padded with zeros
  size_t position_bytes, head_bytes;  // from position to position, from head to head
  ptrdiff_t heads, head_size;
} limn_store_job;

typedef struct limn_attention_job limn_attention_job;

/// Unpacks `count` ≤ LIMN_ATTENTION_TILE positions of a key/value head, from position `first` on, and fills the rest of
/// the tile with zeros. Layouts: keys [position / 16][column][16], values [column / 16][position][16]; in bfloat16,
/// pairs of columns (keys) or of positions (values) are adjacent.
typedef void limn_unpack_tile(
  const limn_attention_job *job, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values);

/// Attention; items: key/value heads times blocks of query tokens.
struct limn_attention_job {
  const limn_recipe *recipe;  // the recipe of F32 in the arithmetic whose panels `unpack` writes
  limn_unpack_tile *unpack;   // one of the kernels
  const float *q;             // [tokens, heads, head_size]
  const void *keys, *values;
  limn_type type;                     // of keys and values, as in limn_store_job
  size_t position_bytes, head_bytes;  // from position to position, from key/value head to head
  int causal;
  ptrdiff_t tokens, heads, kv_heads, head_size;
  ptrdiff_t first_position;  // of the first query, where causal
  ptrdiff_t positions;       // number of keys, where not causal
  ptrdiff_t window;          // the most positions that a query sees; 0: all
  ptrdiff_t block_tokens;    // query tokens of an item
  float scale;
  float *y;  // [tokens, heads, head_size]
};

enum { LIMN_ATTENTION_TILE = 64 };  // positions that are unpacked side by side

size_t limn_attention_scratch(const limn_attention_job *job);
/// Scratch of `attention_in_place`: causal attention for few tokens; items: key/value heads. It ignores `recipe`,
/// `unpack` and `block_tokens`.
size_t limn_attention_in_place_scratch(const limn_attention_job *job);

/// x = f(x), or x = silu(x) · other, or x = x + other; items: elements.
typedef struct {
  float *x;
  const float *other;
} limn_elements_job;

enum { LIMN_LOW_RANK_COLUMNS = 64 };

/// merged = weight + scale · left · right, for unquantised weights (F32, F16, BF16); items: groups of
/// LIMN_LOW_RANK_COLUMNS columns. Strides are in elements.
typedef struct {
  const limn_recipe *recipe;  // the weight's
  const void *weight;         // [rows, columns]
  size_t row_bytes;
  ptrdiff_t rows, columns, rank;
  const float *left;  // [rows, rank]
  ptrdiff_t left_row, left_rank;
  const float *right;  // [rank, columns]
  ptrdiff_t right_rank, right_column;
  float scale;
  limn_type type;  // of `merged`
  void *merged;    // [rows, columns]
} limn_low_rank_job;

size_t limn_low_rank_scratch(const limn_low_rank_job *job);

// MARK: bitsandbytes' weights, when a model is opened

/// Converts NF4 or FP4 codes (the first of a byte in its high nibble), with a scale for every `block_size` codes. The
/// kernel pack_4bit writes blocks of the packed format (`block_size` is a multiple of 64), expand_4bit values map[code]
/// · scale in a `type`. Items: 64 codes each.
typedef struct {
  const uint8_t *codes;
  const float *absmax;
  ptrdiff_t block_size, count;
  const float *map;  // [16]
  limn_type type;
  void *packed;
} limn_4bit_job;

/// Converts LLM.int8 codes [rows, columns], with a scale for each row. The kernel pack_int8 writes blocks (`columns` is
/// a multiple of 64), expand_int8 float32. Items: rows.
typedef struct {
  const int8_t *codes;
  const float *absmax;
  ptrdiff_t columns;
  void *packed;
} limn_llm_int8_job;

/// Quantises values of a type (F32, F16, BF16) to codes as files have them. 4 bits: items are blocks of 64, `count` is
/// the number of values, `code` is 0 for NF4 and 1 for FP4. LLM.int8: items are rows of `count` columns.
typedef struct {
  const void *values;
  limn_type type;
  ptrdiff_t count;
  int code;
  void *codes;
  float *absmax;
} limn_quantize_job;

/// Double quantisation: subtracts the mean of the scales, which it returns, and converts them to 8-bit codes with one
/// scale for every 256 in `nested`. `map` receives the values of the codes.
float limn_nest_absmax(const float *absmax, ptrdiff_t count, uint8_t *codes, float *nested, float map[256]);
void limn_unnest_absmax(
  const uint8_t *codes, ptrdiff_t count, const float map[256], const float *nested, ptrdiff_t block_size, float offset,
  float *absmax);
/// The values of the 16 codes: of NF4, then of FP4.
extern const float limn_4bit_tables[2][16];

// MARK: MLX's, AWQ's and GPTQ's weights, when a model is opened

typedef enum { LIMN_MLX, LIMN_AWQ, LIMN_GPTQ } limn_grouped_layout;

/// Converts codes with a scale and an offset (MLX) or a zero point for each group of `group_size` columns, to F32, F16
/// or, from MLX's with groups of whole blocks, Q4_1 (up to 4 bits) or Q5_1 (up to 5). Items: LIMN_GROUPED_ROWS rows each.
typedef struct {
  limn_grouped_layout layout;
  const void *codes, *scales, *offsets;
  limn_type scale_type;  // F32, F16 or BF16; MLX's offsets too
  const void *groups;    // int32 [columns], each column's group; NULL: in order
  ptrdiff_t rows, columns, group_size;
  int bits;        // of a code; GPTQ 2, 4 or 8, AWQ 4, MLX 2 to 8
  int zero_shift;  // added to GPTQ's zero points
  limn_type type;
  void *packed;
} limn_grouped_job;

enum { LIMN_GROUPED_ROWS = 32 };

/// All kernels of one instruction set. (How matrix products differ by format is in the recipes.)
typedef struct {
  limn_isa isa;
  limn_kernel *prepare, *linear, *gather;
  limn_kernel *rms_norm, *layer_norm, *rope, *store, *attention, *attention_in_place;
  /// For `attention`; the second is NULL where the instruction set has no bfloat16 products.
  limn_unpack_tile *unpack_float32, *unpack_bfloat16;
  limn_kernel *gelu_erf, *gelu_tanh, *gelu_quick, *silu_multiply, *add;
  limn_kernel *low_rank;
  /// For measuring the machine. `read` takes memory as its job, LIMN_READ_ITEM bytes per item. The other two keep the
  /// multipliers busy with 16-bit numbers and 8-bit integers (or float32, where those do not exist), operations_… per
  /// item; their job points to a float 1. All need LIMN_MEASURE_SCRATCH bytes of scratch.
  limn_kernel *read, *multiply_16, *multiply_8;
  double operations_16, operations_8;
  /// Converting bitsandbytes' weights when a model is opened: limn_4bit_job, limn_llm_int8_job, limn_quantize_job.
  limn_kernel *pack_4bit, *expand_4bit, *pack_int8, *expand_int8, *quantize_4bit, *quantize_int8;
  /// Converting MLX's, AWQ's and GPTQ's weights: limn_grouped_job.
  limn_kernel *expand_grouped;
} limn_kernels;

enum { LIMN_READ_ITEM = 1 << 20, LIMN_MEASURE_SCRATCH = 1024 };

/// Fills in the kernels; returns 0 where the machine lacks the instruction set.
int limn_kernels_init(limn_kernels *kernels, limn_isa isa);

// MARK: Writing weights

enum { LIMN_ENCODE_BATCH = 512 };  // values that a block encoder handles at once

/// Encodes a row of `columns` values (whole blocks) and returns Σ (x − x̂)². The values must be finite, and be followed
/// by zeros up to a multiple of LIMN_ENCODE_BATCH. Every instruction set writes the same bytes.
typedef double limn_encode(const float *values, ptrdiff_t columns, void *row);

/// The encoder of a type; NULL where the type has none or the machine lacks the instruction set.
limn_encode *limn_encoder(limn_isa isa, limn_type type);

/// Σ (x − x̂)² and Σ x² of a row. `norm` is NaN if a value is not finite; `error` is not finite if the type cannot hold
/// a value.
typedef struct {
  double error, norm;
} limn_loss;

/// Re-encodes rows of a weight in another type; items: rows of the result.
typedef struct {
  const limn_recipe *source;  // how the weight is dequantised
  const void *weight;
  size_t row_bytes;
  const int32_t *order;  // order[r] is the row of the weight that becomes row r of the result; NULL: row r
  ptrdiff_t columns;
  limn_encode *encode;
  void *result;
  size_t result_row_bytes;
  limn_loss *losses;  // one for each row of the result
} limn_encode_job;

/// Bytes of scratch that the kernel needs for this job.
size_t limn_encode_scratch(const limn_encode_job *job);
/// The kernel for limn_encode_job. The machine must have the instruction set.
limn_kernel *limn_encode_rows(limn_isa isa);
