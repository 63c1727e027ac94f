import LimnServer
import Testing

@Suite("What waiting requests hold together")
struct BudgetTests {
  @Test("requests share the budget, and what one held is free once it is over")
  func sharing() throws {
    let budget = BodyBudget(most: 100)
    let first = budget.claim()
    try first.add(60)
    do {
      let second = budget.claim()
      try second.add(40)
      let refusal = #expect(throws: Refusal.self) { try second.add(1) }
      #expect(refusal?.status == 503)
    }
    try first.add(40)
    #expect(throws: Refusal.self) { try first.add(1) }
  }
}
