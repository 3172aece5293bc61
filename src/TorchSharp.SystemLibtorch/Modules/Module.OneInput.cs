namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>A module of one input. <c>call</c> runs the hooks around <c>forward</c>.</summary>
        public abstract class Module<T, TResult> :
            HookableModule<Func<Module<T, TResult>, T, T>, Func<Module<T, TResult>, T, TResult, TResult>>,
            IModule<T, TResult>
        {
            protected Module(string name) : base(name)
            {
            }

            public abstract TResult forward(T input);

            public TResult call(T input)
            {
                RunModulePreHooks();
                foreach (var hook in pre_hooks.Values)
                {
                    if (hook(this, input) is { } replacement)
                    {
                        input = replacement;
                    }
                }

                var result = forward(input);
                foreach (var hook in post_hooks.Values)
                {
                    if (hook(this, input, result) is { } replacement)
                    {
                        result = replacement;
                    }
                }

                RunModulePostHooks();
                return result;
            }
        }
    }
}
