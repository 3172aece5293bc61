for (var step = 0; step < 60; step++)
{
    optimizer.zero_grad();
    nn.functional.cross_entropy(model.call(features), labels).backward();
    optimizer.step();
}

model.eval();
var task = new InfluenceTask(model)
{
    TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]),
};
var train = Examples.FromTensors(("x", features), ("y", labels));
var queries = Examples.FromTensors(("x", testFeatures), ("y", testLabels));
