// The C side of limn: inner loops. Swift fills a job (a struct of pointers and sizes), and its thread pool calls the
// kernel for ranges of the job's items; which thread does which range never changes a bit of the result.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Instruction sets, each with its own instances of the kernels.
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

/// What a matrix product multiplies, and which formats it is for. Only LIMN_FLOAT32 is there for all of them.
typedef enum {
  /// Dequantised weights and activations as they are: every format.
  LIMN_FLOAT32,
  /// Pairs of bfloat16: prompts of F32, F16 and BF16.
  LIMN_BFLOAT16,
  /// The format's own integers and scales, 8-bit activations: answers of quantised formats, and prompts of those that
  /// have nothing better.
  LIMN_INT8,
  /// Weights rounded again, to 8 bits with one scale for each row and 256 columns: prompts of the K formats.
  LIMN_REQUANTIZED,
  /// The same with 12-bit weights and 13-bit activations: prompts of floats, and of 8-bit formats on AVX2 without VNNI.
  LIMN_INT16,
  /// float32 along rows as they lie in memory: answers of F32, F16, BF16 and NVFP4.
  LIMN_FLOAT32_ROWS,
  /// The format's own integers, but its float scales made integers of up to 12 bits, as the K formats have them: prompts
  /// of Q4_0, Q4_1, Q5_0 and Q5_1.
  LIMN_INTEGER_SCALES,
  LIMN_ARITHMETICS
} limn_arithmetic;

/// Does items begin..<end of a job. `scratch` is the thread's own memory, aligned to 64 bytes.
typedef void limn_kernel(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch);

enum {
  LIMN_PANEL_ROWS = 16,   // weight rows that are unpacked side by side
  LIMN_BLOCK = 256,       // columns that are multiplied between two visits to the float accumulators
  LIMN_TILE_TOKENS = 12,  // tokens that a multiply call takes at most, but with AMX
  LIMN_MOST_TOKENS = 32,  // and with AMX
};

/// Whether this machine and its operating system can run an instruction set.
int limn_isa_supported(limn_isa isa);
/// "scalar", "neon", "avx2" or "avx512".
const char *limn_isa_name(limn_isa isa);

// MARK: Matrix products

/// acc[t · acc_stride + r] += Σₖ x[t, k] · panel[r, k], over one block of columns, for `tokens` ≤ `tile_tokens`
/// prepared tokens that are `x_stride` bytes apart. An output's bits depend on its row and its token only. With AMX,
/// whole 16 tokens are read, whatever those past the last are.
typedef void limn_multiply(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns);

/// A few prepared tokens and any number of weight rows, of a multiple of 64 columns.
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

/// How a weight format is multiplied with one arithmetic on one instruction set.
typedef struct limn_recipe {
  /// Bytes of LIMN_BLOCK columns of one weight row.
  size_t weight_bytes;
  /// Bytes of one unpacked panel: LIMN_PANEL_ROWS rows, LIMN_BLOCK columns.
  size_t panel_bytes;
  /// Bytes of LIMN_BLOCK columns of one prepared token.
  size_t x_bytes;
  /// One weight row's `columns` values (a multiple of the format's block) as float32.
  void (*dequantize)(const void *blocks, float *values, int columns);
  /// Converts `columns` ≤ LIMN_BLOCK activations to what `multiply` reads.
  void (*prepare)(const float *x, void *prepared, int columns);
  /// Unpacks one block of `columns` of `rows` ≤ LIMN_PANEL_ROWS weight rows that are `row_bytes` apart.
  void (*unpack)(
    const struct limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel);
  limn_multiply *multiply;
  /// How many tokens it takes at most, and through a panel at a time.
  int tile_tokens, pass_tokens;
  /// Whether `multiply` is AMX's.
  int uses_amx;
  limn_isa isa;
  /// For up to `few_tokens` tokens: without panels, and with the bits of `multiply`. 0 where panels are the way for one
  /// token, too.
  limn_multiply_few *multiply_few;
  int few_tokens;
  /// Where panels are rounded anew: the format's own unpacking, columns that share a scale, and the largest integer of
  /// a weight.
  void (*unpack_own)(
    const struct limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel);
  int group, largest_q;
  /// Where the scales of 32 columns become integers: the format's own unpacking, and whether it has minimums.
  void (*unpack_32)(
    const struct limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel);
  int has_minimum;
} limn_recipe;

/// Fills in the recipe, or returns 0 where the instruction set has no such arithmetic for the type.
int limn_recipe_init(limn_recipe *recipe, limn_isa isa, limn_type type, limn_arithmetic arithmetic);

/// Prepares tokens for a recipe; items: tokens.
typedef struct {
  const limn_recipe *recipe;
  const float *x;  // [tokens, columns]
  ptrdiff_t columns;
  void *prepared;
  size_t prepared_stride;  // bytes from token to token
} limn_prepare_job;

/// y = x · weightᵀ + bias, or y += that; items: groups of `panels` panels, times `token_parts` (parts vary fastest). Of
/// more than a tile of tokens, `column_parts` parts of the columns are multiplied one after another.
typedef struct {
  const limn_recipe *recipe;
  const void *weight;
  size_t row_bytes;
  ptrdiff_t rows, columns;
  const void *prepared;  // memory for whole 16 tokens
  size_t prepared_stride;
  ptrdiff_t tokens;
  ptrdiff_t panels, token_parts, column_parts;
  const float *bias;  // [rows] or NULL
  float *y;           // [tokens, rows]
  int adding;
} limn_linear_job;

/// Chooses `panels`, `token_parts` and `column_parts` of a job in which all else is filled in, for this many threads;
/// returns the number of items.
ptrdiff_t limn_plan_linear(limn_linear_job *job, ptrdiff_t threads);
/// Scratch bytes that `limn_linear` needs for this job.
size_t limn_linear_scratch(const limn_linear_job *job);
/// What a further token of an answer adds to the time of a step, in steps of one token, for quantised weights of some
/// gigabytes, which are read once for all tokens: with AVX-512 0.15 to 0.22 were measured, with AVX2 0.2 to 0.35. (On
/// ARM it is not measured.)
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

/// Items: rows. bias is NULL for RMSNorm.
typedef struct {
  const float *x, *weight, *bias;
  float *y;
  ptrdiff_t width;
  float epsilon;
} limn_norm_job;

/// Items: tokens.
typedef struct {
  float *x;  // [tokens, heads, head_size]
  ptrdiff_t heads, head_size, dimensions;
  const float *cosines, *sines;  // [tokens, dimensions / 2], from the first token's position on
  int adjacent;                  // value 2i turns with 2i + 1; else i with i + dimensions / 2
} limn_rope_job;

/// Copies keys or values into a cache; items: tokens.
typedef struct {
  const float *x;                     // [tokens, heads, head_size]
  void *cache;                        // from the first token's position on
  limn_type type;                     // F32, F16, or Q8_0 in blocks along a head, the last one filled up with zeros
  size_t position_bytes, head_bytes;  // from position to position, from head to head
  ptrdiff_t heads, head_size;
} limn_store_job;

typedef struct limn_attention_job limn_attention_job;

/// Unpacks `count` ≤ LIMN_ATTENTION_TILE positions of a key/value head from `first` on; the rest of the tile becomes
/// zeros. keys [position / 16][column][16], values [column / 16][position][16], in bfloat16 with two columns, or two
/// positions, beside each other.
typedef void limn_unpack_tile(
  const limn_attention_job *job, ptrdiff_t kv_head, ptrdiff_t first, ptrdiff_t count, void *keys, void *values);

/// Attention; items: key/value heads times blocks of query tokens.
struct limn_attention_job {
  const limn_recipe *recipe;  // of F32, in the arithmetic that `unpack` makes panels for
  limn_unpack_tile *unpack;   // of the kernels
  const float *q;             // [tokens, heads, head_size]
  const void *keys, *values;
  limn_type type;                     // of keys and values, as in limn_store_job
  size_t position_bytes, head_bytes;  // from position to position, from key/value head to head
  int causal;
  ptrdiff_t tokens, heads, kv_heads, head_size;
  ptrdiff_t first_position;  // of the first query, where causal
  ptrdiff_t positions;       // how many keys there are, where not causal
  ptrdiff_t window;          // how many positions a query sees at most; 0: all
  ptrdiff_t block_tokens;    // query tokens of an item
  float scale;
  float *y;  // [tokens, heads, head_size]
};

enum { LIMN_ATTENTION_TILE = 64 };  // positions that are unpacked side by side

size_t limn_attention_scratch(const limn_attention_job *job);
/// For `attention_in_place`: causal, few tokens; items: key/value heads. `recipe`, `unpack` and `block_tokens` are not
/// used.
size_t limn_attention_in_place_scratch(const limn_attention_job *job);

/// x = f(x), or x = silu(x) · other, or x = x + other; items: elements.
typedef struct {
  float *x;
  const float *other;
} limn_elements_job;

enum { LIMN_LOW_RANK_COLUMNS = 64 };

/// merged = weight + scale · left · right, for plain numbers (F32, F16, BF16); items: groups of
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

/// NF4 or FP4 from codes (the first of a byte in its high nibble) and a scale for every `block_size` of them, to blocks
/// of the packed format (`block_size` a multiple of 64), or by `map` to values of a `type`; items: 64 values each.
typedef struct {
  const uint8_t *codes;
  const float *absmax;
  ptrdiff_t block_size, count;
  const float *map;  // [16]
  limn_type type;
  void *packed;
} limn_4bit_job;

/// LLM.int8 from codes [rows, columns] and a scale for each row, to blocks (`columns` a multiple of 64) or to float32;
/// items: rows.
typedef struct {
  const int8_t *codes;
  const float *absmax;
  ptrdiff_t columns;
  void *packed;
} limn_llm_int8_job;

/// From values of a type (F32, F16, BF16) to codes as files have them. 4 bits: items are blocks of 64, `count` all
/// values, `code` 0 for NF4 and 1 for FP4. LLM.int8: items are rows, `count` their columns.
typedef struct {
  const void *values;
  limn_type type;
  ptrdiff_t count;
  int code;
  void *codes;
  float *absmax;
} limn_quantize_job;

/// Double quantisation: scales to codes of 8 bits with a scale for every 256 in `nested`; fills in the map and returns
/// the scales' mean, which is taken off first.
float limn_nest_absmax(const float *absmax, ptrdiff_t count, uint8_t *codes, float *nested, float map[256]);
void limn_unnest_absmax(
  const uint8_t *codes, ptrdiff_t count, const float map[256], const float *nested, ptrdiff_t block_size, float offset,
  float *absmax);
/// The values of the 16 codes of NF4, then of FP4.
extern const float limn_4bit_tables[2][16];

/// The kernels of one instruction set, but for the recipes.
typedef struct {
  limn_isa isa;
  limn_kernel *prepare, *linear, *gather;
  limn_kernel *rms_norm, *layer_norm, *rope, *store, *attention, *attention_in_place;
  /// For attention; the second is NULL where the instruction set has no products of bfloat16.
  limn_unpack_tile *unpack_float32, *unpack_bfloat16;
  limn_kernel *gelu_erf, *gelu_tanh, *gelu_quick, *silu_multiply, *add;
  limn_kernel *low_rank;
  /// For measuring the machine. `read`'s job is memory, an item LIMN_READ_ITEM bytes of it; the others keep the
  /// multipliers busy with 16-bit floats (or float32) and 8-bit integers (or float32), operations_… per item. They
  /// need LIMN_MEASURE_SCRATCH bytes of scratch; the job of the last two points to a float 1.
  limn_kernel *read, *multiply_16, *multiply_8;
  double operations_16, operations_8;
  /// bitsandbytes' weights, on their way into memory: the jobs below.
  limn_kernel *pack_4bit, *expand_4bit, *pack_int8, *expand_int8, *quantize_4bit, *quantize_int8;
} limn_kernels;

enum { LIMN_READ_ITEM = 1 << 20, LIMN_MEASURE_SCRATCH = 1024 };

/// Fills in the table, or returns 0 where the machine lacks the instruction set.
int limn_kernels_init(limn_kernels *kernels, limn_isa isa);

// MARK: Writing weights

enum { LIMN_ENCODE_BATCH = 512 };  // values that the encoders of blocks take at a time

/// Writes a row's `columns` values (whole blocks) and returns Σ (x − x̂)². After them, up to a multiple of
/// LIMN_ENCODE_BATCH, there are zeros. The same bytes on every instruction set; values must be finite.
typedef double limn_encode(const float *values, ptrdiff_t columns, void *row);

/// The encoder of a type; NULL where it has none, or the machine lacks the instruction set.
limn_encode *limn_encoder(limn_isa isa, limn_type type);

/// Σ (x − x̂)² and Σ x² of a row. norm is NaN where a value is not finite, error is not finite where the type cannot
/// hold one.
typedef struct {
  double error, norm;
} limn_loss;

/// Writes rows of a weight in another type; items: rows of the result.
typedef struct {
  const limn_recipe *source;  // how the weight is dequantised
  const void *weight;
  size_t row_bytes;
  const int32_t *order;  // which row of the weight becomes row r of the result; NULL: row r
  ptrdiff_t columns;
  limn_encode *encode;
  void *result;
  size_t result_row_bytes;
  limn_loss *losses;  // by row of the result
} limn_encode_job;

/// Scratch bytes that the kernel needs for this job.
size_t limn_encode_scratch(const limn_encode_job *job);
/// The kernel that does such jobs on an instruction set that the machine has.
limn_kernel *limn_encode_rows(limn_isa isa);
