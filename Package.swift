// swift-tools-version: 6.1
import PackageDescription

/// Every import says whether it shows in the public interface, `any` is always written, and members come
/// from modules that the file imports: what a file needs stands at its top.
let settings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// The commit that `limn --version` names; the Makefile sets it. `Context.gitInformation` would not do: SwiftPM caches what
/// this file evaluates to, and with it an old commit.
let commit = Context.environment["LIMN_COMMIT"].flatMap { $0.isEmpty ? nil : $0 }

let package = Package(
  name: "limn",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Limn", targets: ["Limn"]),
    .library(name: "LimnHub", targets: ["LimnHub"]),
    .executable(name: "limn", targets: ["LimnCLI"]),
    .executable(name: "limn-server", targets: ["LimnServerCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    // Only the server uses these, which is why it is a product of its own: `limn` builds without them.
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
  ],
  targets: [
    // System libraries that decode pictures.
    .systemLibrary(
      name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg-dev"]), .brew(["jpeg-turbo"])]),
    .systemLibrary(
      name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"]), .brew(["libpng"])]),
    .systemLibrary(
      name: "CWebP", pkgConfig: "libwebpdemux", providers: [.apt(["libwebp-dev"]), .brew(["webp"])]),

    // The C library as limn calls it, the same on every system.
    .target(name: "CLimnSystem"),
    // Errors, mapped memory, folders and files, JSON: what every module needs.
    .target(name: "LimnCore", dependencies: ["CLimnSystem"], swiftSettings: settings),
    // Inner loops in C: formats, products, operations, the machine, encoders; one file each.
    .target(name: "CLimnKernels", cSettings: [.headerSearchPath(".")]),
    // Element types, threads, and the operations that models call.
    .target(name: "LimnTensor", dependencies: ["LimnCore", "CLimnKernels", "CLimnSystem"], swiftSettings: settings),
    // GGUF, safetensors, PyTorch files and configs: one `Checkpoint`.
    .target(name: "LimnFiles", dependencies: ["LimnCore", "LimnTensor"], swiftSettings: settings),
    // Tokenizers and chat templates.
    .target(name: "LimnText", dependencies: ["LimnCore", "LimnFiles", "CLimnSystem"], swiftSettings: settings),
    // JSON schemas as grammars over bytes, and the tokens that they allow.
    .target(name: "LimnGrammar", dependencies: ["LimnCore"], swiftSettings: settings),
    // Those libraries behind plain calls, libheif and libtiff (opened at run time), and the inner loops of resampling.
    .target(name: "CLimnImage", dependencies: ["CJPEG", "CPNG", "CWebP"]),
    // Decoding, orientation, resampling, image processors.
    .target(name: "LimnImage", dependencies: ["LimnCore", "CLimnImage", "CLimnSystem"], swiftSettings: settings),
    // HTTP through the system's libcurl, opened at run time rather than linked.
    .target(name: "CLimnTransfer"),
    // Lines that a person types, through the system's libedit, opened at run time as well.
    .target(name: "CLimnTerminal"),
    // Fetching what the user names by URL.
    .target(
      name: "LimnHub", dependencies: ["LimnCore", "LimnImage", "CLimnSystem", "CLimnTransfer"],
      swiftSettings: settings),
    // Models, generation, the public API.
    .target(
      name: "Limn", dependencies: ["LimnCore", "LimnTensor", "LimnFiles", "LimnText", "LimnGrammar", "LimnImage"],
      resources: [.copy("Resources/limn-demo")], swiftSettings: settings),
    // The commit that the command was built from.
    .target(name: "CLimnCommit", cSettings: commit.map { [.define("LIMN_COMMIT", to: "\"\($0)\"")] } ?? []),
    // The command `limn`.
    .executableTarget(
      name: "LimnCLI",
      dependencies: [
        "Limn", "LimnHub", "CLimnSystem", "CLimnTerminal", "CLimnCommit",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),
    // The server: HTTP APIs over models that are opened when they are first asked.
    .target(
      name: "LimnServer",
      dependencies: [
        "Limn", "LimnHub", "LimnCore", "LimnFiles", "CLimnSystem",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Crypto", package: "swift-crypto"),
      ],
      swiftSettings: settings),
    // The command `limn-server`, which `limn serve` starts.
    .executableTarget(
      name: "LimnServerCommand",
      dependencies: [
        "LimnServer", "Limn", "LimnCore",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),
    // Programs that show how the library is used: `swift run ExampleAsk …`.
    .executableTarget(name: "ExampleAsk", dependencies: ["Limn"], path: "Examples/Ask", swiftSettings: settings),
    .executableTarget(name: "ExampleStream", dependencies: ["Limn"], path: "Examples/Stream", swiftSettings: settings),
    .executableTarget(name: "ExampleBatch", dependencies: ["Limn"], path: "Examples/Batch", swiftSettings: settings),
    .executableTarget(name: "ExampleFields", dependencies: ["Limn"], path: "Examples/Fields", swiftSettings: settings),
    // What tests share: a scripted model.
    .target(
      name: "LimnTesting", dependencies: ["LimnCore", "LimnTensor", "LimnFiles", "Limn"],
      swiftSettings: settings),

    .testTarget(
      name: "LimnTensorTests", dependencies: ["LimnTensor", "CLimnKernels", "LimnTesting"],
      swiftSettings: settings),
    .testTarget(name: "LimnFilesTests", dependencies: ["LimnFiles", "LimnTesting"], swiftSettings: settings),
    .testTarget(name: "LimnTextTests", dependencies: ["LimnText", "LimnTesting"], swiftSettings: settings),
    .testTarget(name: "LimnGrammarTests", dependencies: ["LimnGrammar", "LimnTesting"], swiftSettings: settings),
    .testTarget(
      name: "LimnImageTests", dependencies: ["LimnImage", "LimnFiles", "LimnTesting"], swiftSettings: settings),
    .testTarget(name: "LimnHubTests", dependencies: ["LimnHub", "LimnImage", "LimnTesting"], swiftSettings: settings),
    .testTarget(name: "LimnTests", dependencies: ["Limn", "LimnTesting"], swiftSettings: settings),
    .testTarget(
      name: "LimnServerTests",
      dependencies: [
        "LimnServer", "Limn", "LimnCore", "LimnTesting", .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOWebSocket", package: "swift-nio"),
      ],
      swiftSettings: settings),
    // Limn as its users see it.
    .testTarget(name: "LimnAPITests", dependencies: ["Limn"], swiftSettings: settings),
    .target(name: "CPseudoTerminal", path: "Tests/CPseudoTerminal"),
    .testTarget(
      name: "LimnCLITests", dependencies: ["LimnCLI", "Limn", "LimnTesting", "CPseudoTerminal"],
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c17
)
