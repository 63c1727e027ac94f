// What users of the library must be able to name comes with `import Limn`: nothing else needs to be imported.

@_exported public import struct LimnCore.LimnError
@_exported public import enum LimnImage.ImageSource
@_exported public import enum LimnImage.PreprocessPolicy
@_exported public import struct LimnImage.RGBImage
@_exported public import enum LimnTensor.KVType
@_exported public import enum LimnTensor.Precision
