//! Preparations of tables, as models hold them. One that is taken comes back from its own text, and prepares a table or refuses it.
#![no_main]

use std::sync::LazyLock;

use kiln_data::{Choices, Table, TablePreparation, Treatment};
use kiln_fuzz::{fuzz_target, seeds};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::read(b"a,b,c,d,y\n1,x,2024-01-31,yes,0\n2.5,z,,no,1\n-3,x,2024-02-01,no,0\n,w,,yes,1\n").unwrap()
});

fn seed(choices: Choices) -> String {
    TablePreparation::fit(&TABLE, &[0, 1, 2, 3], &choices).unwrap().to_json().unwrap()
}

fn all() -> [String; 3] {
    let plain = || Choices::new().target("y");
    [plain(), plain().treat("b", Treatment::Codes), Choices::new().target("b")].map(seed)
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(plan) = TablePreparation::from_json(text) else { return };
    assert_eq!(TablePreparation::from_json(&plan.to_json().unwrap()).unwrap(), plan);
    let _ = (plan.notes(), plan.groups(), plan.vocabularies(), plan.reading());
    if let Ok(inputs) = plan.apply_inputs(&TABLE) {
        assert_eq!(inputs.values.len(), inputs.rows * inputs.width);
    }
    let _ = plan.apply(&TABLE, &[0, 1, 2, 3]);
});
