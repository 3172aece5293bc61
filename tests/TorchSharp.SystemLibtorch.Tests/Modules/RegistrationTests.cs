using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

public class RegistrationTests
{
    [Fact]
    public void Parameters_come_in_the_order_of_registration_with_dotted_names()
    {
        using var model = new TwoLayers();

        Assert.Equal(
            ["scale", "first.weight", "first.bias", "rest.out.weight"],
            model.named_parameters().Select(entry => entry.name));
        Assert.Equal(["scale"], model.named_parameters(recurse: false).Select(entry => entry.name));
        Assert.Equal(["offset"], model.named_buffers().Select(entry => entry.name));
    }

    [Fact]
    public void Named_modules_leaves_out_the_module_itself()
    {
        using var model = new TwoLayers();

        Assert.Equal(["first", "rest"], model.named_children().Select(entry => entry.name));
        Assert.Equal(["first", "rest", "rest.act", "rest.out"], model.named_modules().Select(entry => entry.name));
        Assert.DoesNotContain(model, model.modules());
        Assert.Same(model.rest, model.children().Last());
    }

    [Fact]
    public void Names_lead_to_parameters_and_buffers()
    {
        using var model = new TwoLayers();

        Assert.Same(model.first.weight, model.get_parameter("first.weight"));
        Assert.NotNull(model.get_parameter("rest.out.weight"));
        Assert.Null(model.get_parameter("rest.out.bias"));
        Assert.Same(model.offset, model.get_buffer("offset"));
        Assert.True(model.has_parameter("scale"));
        Assert.False(model.has_parameter("first"));
        Assert.True(model.has_buffer("offset"));
        Assert.False(model.has_buffer("rest.offset"));
    }

    [Fact]
    public void A_shared_parameter_is_listed_once_but_kept_under_both_names_in_the_state()
    {
        using var left = nn.Linear(2, 2, hasBias: false);
        using var right = nn.Linear(left.weight);
        using var list = new Holder(left, right);

        Assert.Equal(["left.weight"], list.named_parameters().Select(entry => entry.name));
        Assert.Equal(["left.weight", "right.weight"], list.state_dict().Keys.Order());
    }

    [Fact]
    public void A_buffer_that_is_not_persistent_is_never_listed()
    {
        using var holder = new Holder(nn.Identity(), nn.Identity());
        holder.register_buffer("kept", zeros(1));
        holder.register_buffer("passing", zeros(1), persistent: false);

        Assert.Equal(["kept"], holder.named_buffers().Select(entry => entry.name));
        Assert.Equal(["kept"], holder.state_dict().Keys);
        Assert.NotNull(holder.get_buffer("passing"));
    }

    [Fact]
    public void Names_are_checked()
    {
        using var holder = new Holder(nn.Identity(), nn.Identity());

        Assert.Throws<ArgumentException>(() => holder.register_module("a.b", nn.Identity()));
        Assert.Throws<ArgumentException>(() => holder.register_module("", nn.Identity()));
        Assert.Throws<InvalidOperationException>(() => holder.register_module("left", nn.Identity()));
        Assert.Throws<ArgumentNullException>(() => holder.register_buffer("none", null!));
        Assert.Throws<InvalidOperationException>(() => nn.ReLU().register_buffer("b", zeros(1)));
    }

    [Fact]
    public void Containers_name_their_modules_by_position_or_key()
    {
        using var list = new Holder(nn.ModuleList<nn.Module>(nn.Linear(1, 1), nn.ReLU()), nn.Identity());
        Assert.Equal(["left.0.weight", "left.0.bias"], list.named_parameters().Select(entry => entry.name));

        using var entries = nn.ModuleDict<nn.Module>(("one", nn.Linear(1, 1)), ("two", nn.ReLU()));
        using var dict = new Holder(entries, nn.Identity());
        Assert.Equal(["left", "right", "left.one", "left.two"], dict.named_modules().Select(entry => entry.name));
    }

    [Fact]
    public void Training_mode_reaches_every_module()
    {
        using var model = new TwoLayers();
        Assert.True(model.training);

        model.eval();
        Assert.All(model.modules().Prepend(model), module => Assert.False(module.training));

        model.train();
        Assert.All(model.modules().Prepend(model), module => Assert.True(module.training));
    }

    [Fact]
    public void Apply_visits_children_before_their_parent()
    {
        using var model = new TwoLayers();
        var visited = new List<nn.Module>();

        model.apply(visited.Add);

        Assert.Equal(5, visited.Count);
        Assert.Same(model, visited[^1]);
        Assert.Same(model.rest, visited[^2]);
    }

    [Fact]
    public void Dispose_disposes_parameters_and_buffers_once()
    {
        var model = new TwoLayers();
        var parameters = model.parameters().ToList();

        model.Dispose();
        model.Dispose();

        Assert.All(parameters, parameter => Assert.True(parameter.IsInvalid));
        Assert.True(model.offset.IsInvalid);
    }

    [Fact]
    public void A_layer_made_inside_a_scope_keeps_its_parameters()
    {
        Linear layer;
        using (NewDisposeScope())
        {
            layer = nn.Linear(2, 1);
        }

        Assert.False(layer.weight.IsInvalid);
        layer.Dispose();
    }

    private sealed class Holder : nn.Module
    {
        public readonly nn.Module left;
        public readonly nn.Module right;

        public Holder(nn.Module left, nn.Module right) : base(nameof(Holder))
        {
            this.left = left;
            this.right = right;
            RegisterComponents();
        }
    }
}
