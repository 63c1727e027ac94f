/// Typed access to the fields of a JSON object. null counts as absent; a value of an unexpected type is an error that
/// names the field.
package struct FieldReader: Sendable {
  package let json: JSON
  /// What the object is, for messages.
  package let place: String

  package init(json: JSON, place: String) {
    self.json = json
    self.place = place
  }

  package func has(_ field: String) -> Bool { json.present(field) != nil }

  /// Whether the field is present as null, which overrides a default.
  package func isNull(_ field: String) -> Bool { json[field]?.isNull == true }

  package func int(_ field: String) throws(LimnError) -> Int? {
    guard let value = json.present(field) else { return nil }
    if let number = value.int { return number }
    // Scripts write 4096.0 where they computed the number.
    if let number = value.double, let whole = Int(exactly: number) { return whole }
    throw wrong(field, expected: "a whole number")
  }

  package func double(_ field: String) throws(LimnError) -> Double? {
    guard let value = json.present(field) else { return nil }
    guard let number = value.double else { throw wrong(field, expected: "a number") }
    return number
  }

  package func bool(_ field: String) throws(LimnError) -> Bool? {
    guard let value = json.present(field) else { return nil }
    guard let bool = value.bool else { throw wrong(field, expected: "true or false") }
    return bool
  }

  package func string(_ field: String) throws(LimnError) -> String? {
    guard let value = json.present(field) else { return nil }
    guard let string = value.string else { throw wrong(field, expected: "a string") }
    return string
  }

  package func object(_ field: String) throws(LimnError) -> FieldReader? {
    guard let value = json.present(field) else { return nil }
    guard value.object != nil else { throw wrong(field, expected: "an object") }
    return FieldReader(json: value, place: "\(place), \(field)")
  }

  package func doubles(_ field: String) throws(LimnError) -> [Double]? {
    guard let value = json.present(field) else { return nil }
    let numbers = value.array?.compactMap(\.double)
    guard let numbers, numbers.count == value.array?.count else { throw wrong(field, expected: "numbers") }
    return numbers
  }

  /// One whole number, or several.
  package func ints(_ field: String) throws(LimnError) -> [Int]? {
    guard let value = json.present(field) else { return nil }
    if let number = value.int { return [number] }
    let numbers = value.array?.compactMap(\.int)
    guard let numbers, numbers.count == value.array?.count else {
      throw wrong(field, expected: "whole numbers")
    }
    return numbers
  }

  /// The side of a square, given as one number or as two equal ones.
  package func side(_ field: String) throws(LimnError) -> Int? {
    guard let sides = try ints(field) else { return nil }
    guard let first = sides.first, sides.allSatisfy({ $0 == first }) else {
      throw wrong(field, expected: "a square")
    }
    return first
  }

  package func wrong(_ field: String, expected: String) -> LimnError {
    .badData(
      "\(field) is wrong", in: place, expected: expected, found: json[field]?.serialised() ?? "nothing")
  }
}
