using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>What all optimizers share: the states by parameter, their storage and the frame of a step.</summary>
public abstract class OptimizerHelper : optim.Optimizer
{
    protected OptimizerOptions _defaults = new();

    protected OrderedDict<IntPtr, OptimizerState> _state = [];

    public OptimizerHelper()
    {
    }

    public virtual StateDictionary state_dict()
    {
        var dictionary = new StateDictionary();
        foreach (var group in _parameter_groups)
        {
            var positions = new List<int>();
            foreach (var parameter in group.Parameters)
            {
                positions.Add(dictionary.State.Count);
                dictionary.State.Add(_state[parameter.Handle]);
            }

            dictionary.Options.Add(group.Options);
            dictionary.StateIndexRef.Add(positions);
        }

        return dictionary;
    }

    /// <summary>Copies the options and states of another optimizer of the same kind and shape.</summary>
    public virtual void load_state_dict(StateDictionary state_dict)
    {
        var own = this.state_dict();
        RequireSameCounts(own, state_dict.Options.Count, state_dict.State.Count);
        foreach (var (target, source) in own.Options.Zip(state_dict.Options))
        {
            if (!ReferenceEquals(target, source))
            {
                target.LoadStateDict(source);
            }
        }

        foreach (var (target, source) in own.State.Zip(state_dict.State))
        {
            if (!ReferenceEquals(target, source))
            {
                target.LoadStateDict(source);
            }
        }
    }

    public void save_state_dict(string location)
    {
        using var stream = File.Create(location);
        using var writer = new BinaryWriter(stream);
        save_state_dict(writer);
    }

    /// <summary>
    /// The optimizer's name, the numbers of groups and states, then the groups' options and the states.
    /// </summary>
    public void save_state_dict(BinaryWriter writer)
    {
        var own = state_dict();
        writer.Write(GetType().Name);
        Leb128.Write(writer, own.Options.Count);
        Leb128.Write(writer, own.State.Count);
        own.Options.ForEach(options => options.SaveStateDict(writer));
        own.State.ForEach(state => state.SaveStateDict(writer));
    }

    public void load_state_dict(string location)
    {
        using var stream = File.OpenRead(location);
        using var reader = new BinaryReader(stream);
        load_state_dict(reader);
    }

    public void load_state_dict(BinaryReader reader)
    {
        var stored = reader.ReadString();
        if (stored != GetType().Name)
        {
            throw new InvalidDataException(
                $"The stored state is of an optimizer {stored}, but {GetType().Name} is expected.");
        }

        var own = state_dict();
        RequireSameCounts(own, Leb128.Read(reader), Leb128.Read(reader));
        own.Options.ForEach(options => options.LoadStateDict(reader));
        own.State.ForEach(state => state.LoadStateDict(reader));
    }

    /// <summary>Moves the states to a device.</summary>
    public void to(Device device)
    {
        foreach (var (_, state) in _state)
        {
            state.to(device);
        }
    }

    /// <summary>Runs the closure with gradients on, then the update of each group with gradients off.</summary>
    protected Tensor _step<T>(Action<T> body, Func<Tensor>? loss_closure = null) where T : ParamGroup
    {
        Tensor? loss = null;
        if (loss_closure is not null)
        {
            using var withGradients = enable_grad();
            loss = loss_closure();
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var group in _parameter_groups)
        {
            body((T)group);
        }

        return loss!;
    }

    private protected override void DisposeStates()
    {
        foreach (var (_, state) in _state)
        {
            (state as IDisposable)?.Dispose();
        }

        _state.Clear();
    }

    /// <summary>Adds the group with a fresh state for each of its parameters.</summary>
    internal void AddGroup(ParamGroup group, Func<Parameter, OptimizerState> stateOf)
    {
        group.Options.LearningRate ??= _defaults.LearningRate;
        group.Options.InitialLearningRate = group.Options.LearningRate ?? 0;
        _parameter_groups.Add(group);
        foreach (var parameter in group.Parameters)
        {
            var state = stateOf(parameter);
            state.Initialize(group.Options);
            _state[parameter.Handle] = state;
        }
    }

    private static void RequireSameCounts(StateDictionary own, long groups, long states)
    {
        if (own.Options.Count != groups || own.State.Count != states)
        {
            throw new ArgumentException(
                $"The state is of {groups} parameter groups and {states} parameters, "
                + $"but the optimizer has {own.Options.Count} and {own.State.Count}.");
        }
    }
}
