using Xunit;

namespace Influence.Build.Tests;

/// <summary>Whatever the bytes are, reading them ends, and ends in an answer or in a message.</summary>
public class DamagedFileTests
{
    [Theory]
    [InlineData("")]
    [InlineData("\u007fEL")]
    [InlineData("#!/bin/sh")]
    [InlineData("!<arch>\n and more that is no ELF file, longer than a header of one would be: sixty-four bytes")]
    public void What_is_no_ELF_file_is_said_to_be_none(string text) =>
        Assert.Equal("it is not an ELF file", MessageOf(System.Text.Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void A_file_for_another_machine_is_refused()
    {
        Assert.Equal("it is not a 64-bit ELF file", MessageOf(new SmallElf { Class = 1 }.Build()));
        Assert.Equal("it is not a little-endian ELF file", MessageOf(new SmallElf { Order = 2 }.Build()));
        Assert.Equal("it is not for x86-64", MessageOf(new SmallElf { Machine = 183 }.Build()));
        Assert.Equal("it is not a shared object", MessageOf(new SmallElf { Kind = 1 }.Build()));
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        var whole = Samples.NativeBytes;

        for (var length = 0; length < whole.Length; length++)
            Assert.NotNull(MessageOf(whole[..length]));
        Assert.Null(MessageOf(whole));
    }

    [Fact]
    public void Tables_outside_the_file_are_refused()
    {
        Assert.NotNull(MessageOf(Samples.Native().Dynamic(DynamicTag.VersionNeeds, ulong.MaxValue).Build()));
        Assert.NotNull(MessageOf(Samples.Native().Dynamic(DynamicTag.VersionNeeds, 0).Build()));
        Assert.NotNull(MessageOf(Samples.Native().Dynamic(DynamicTag.SymbolVersions, 1).Build()));
        Assert.NotNull(MessageOf(Samples.Native().Rela(1).Dynamic(DynamicTag.RelaSize, ulong.MaxValue).Build()));
        Assert.NotNull(MessageOf(Samples.Native().Rela(1, uint.MaxValue).Build()));
    }

    [Fact]
    public void A_table_without_its_size_is_refused()
    {
        Assert.NotNull(MessageOf(new SmallElf().Dynamic(DynamicTag.VersionNeeds, 0x400000).Build()));
        Assert.NotNull(MessageOf(new SmallElf().Dynamic(DynamicTag.VersionDefinitions, 0x400000).Build()));
        Assert.NotNull(MessageOf(Samples.Native().Dynamic(DynamicTag.Rela, 0x400000).Build()));
    }

    /// <summary>Each byte in turn takes values that make offsets and counts large, small and negative.</summary>
    [Fact]
    public void A_file_with_any_byte_changed_is_answered_or_refused()
    {
        foreach (var whole in new[] { Samples.NativeBytes, Samples.Library().Build() })
        {
            for (var i = 0; i < whole.Length; i++)
            {
                foreach (byte value in new byte[] { 0, 1, 0x7f, 0x80, 0xff })
                {
                    var bytes = (byte[])whole.Clone();
                    bytes[i] = value;
                    MessageOf(bytes);
                }
            }
        }
    }

    [Fact]
    public void Random_bytes_behind_a_good_header_are_answered_or_refused()
    {
        var random = new Random(1);
        for (var round = 0; round < 2000; round++)
        {
            var bytes = Samples.NativeBytes;
            for (var change = 0; change < 8; change++)
                bytes[random.Next(64, bytes.Length)] = (byte)random.Next(256);
            MessageOf(bytes);
        }
    }

    /// <summary>Goes the whole way that the task goes, and gives the message of a refusal.</summary>
    private static string? MessageOf(byte[] bytes)
    {
        try
        {
            var file = new ElfFile(bytes);
            VersionDefinitions.Read(file);
            var missing = Samples.Missing(bytes);
            if (missing.Count > 0 && WeakenVersions.Obstacle(file, missing) is null)
                Assert.Equal(bytes.Length, WeakenVersions.Apply(bytes, missing).Length);
            return null;
        }
        catch (ElfException e)
        {
            Assert.False(string.IsNullOrWhiteSpace(e.Message));
            return e.Message;
        }
    }
}
