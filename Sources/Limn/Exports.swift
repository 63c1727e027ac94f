// `import Limn` also brings every type that its users must name, so they need no other import. A type that is re-exported
// brings its members and nested types (`error.kind`, `LimnError.Code`) along, also with MemberImportVisibility.

@_exported public import struct LimnCore.LimnError
@_exported public import struct LimnImage.ImageOptions
@_exported public import enum LimnImage.ImageSource
@_exported public import enum LimnImage.PreprocessPolicy
@_exported public import struct LimnImage.RGBImage
@_exported public import enum LimnTensor.KVType
@_exported public import enum LimnTensor.Precision
