using System;
using System.Collections.Generic;

namespace Ani3D.Core
{
    /// <summary>The blocks of a bundle, each taken once with its type, shape and values checked.</summary>
    sealed class Blocks
    {
        static readonly Dictionary<char, long> Limits = new Dictionary<char, long>
        {
            ['N'] = 4000000, ['J'] = 256, ['W'] = 16, ['T'] = 100000, ['M'] = 4000000, ['K'] = 100000,
        };

        readonly Dictionary<string, object> lines;
        readonly Dictionary<string, byte[]> contents;
        readonly HashSet<string> taken = new HashSet<string> { "manifest.json" };
        readonly string source;

        public Blocks(Dictionary<string, object> lines, Dictionary<string, byte[]> contents, string source)
        {
            this.lines = lines;
            this.contents = contents;
            this.source = source;
        }

        public bool Has(string name) => lines.ContainsKey(name);

        /// <summary>Floats of an f32 or f16 block, finite and at most <paramref name="limit"/> in size.</summary>
        public float[] Floats(string name, string type, string shape, Dictionary<char, long> dims, double limit)
        {
            byte[] content = Take(name, shape, dims, out _, type);
            var values = new float[content.Length / (type == "f16" ? 2 : 4)];
            if (type == "f16")
                for (int i = 0; i < values.Length; i++)
                    values[i] = HalfToFloat((ushort)(content[2 * i] | content[2 * i + 1] << 8));
            else
                Buffer.BlockCopy(content, 0, values, 0, content.Length);
            foreach (float value in values)
                if (!(Math.Abs(value) <= limit)) throw Wrong(name, $"holds NaN or a value beyond {limit}");
            return values;
        }

        public double[] Doubles(string name, string shape, Dictionary<char, long> dims, double limit)
        {
            var values = As<double>(Take(name, shape, dims, out _, "f64"), 8);
            foreach (double value in values)
                if (!(Math.Abs(value) <= limit)) throw Wrong(name, $"holds NaN or a value beyond {limit}");
            return values;
        }

        public byte[] Bytes(string name, string shape, Dictionary<char, long> dims) =>
            Take(name, shape, dims, out _, "u8");

        public short[] Shorts(string name, string shape, Dictionary<char, long> dims) =>
            As<short>(Take(name, shape, dims, out _, "i16"), 2);

        public ushort[] UShorts(string name, string shape, Dictionary<char, long> dims) =>
            As<ushort>(Take(name, shape, dims, out _, "u16"), 2);

        public int[] Ints(string name, string shape, Dictionary<char, long> dims) =>
            As<int>(Take(name, shape, dims, out _, "i32"), 4);

        public uint[] UInts(string name, string shape, Dictionary<char, long> dims) =>
            As<uint>(Take(name, shape, dims, out _, "u32"), 4);

        /// <summary>int8 or int16 texels, as int16.</summary>
        public short[] Texels(string name, string shape, Dictionary<char, long> dims, out bool wide)
        {
            byte[] content = Take(name, shape, dims, out string type, "i8", "i16");
            wide = type == "i16";
            if (wide) return As<short>(content, 2);
            var values = new short[content.Length];
            for (int i = 0; i < values.Length; i++) values[i] = (sbyte)content[i];
            return values;
        }

        public void CheckAllTaken()
        {
            // The pose residual, a network, may be ignored (BUNDLE.md); exports turn it into coefficients.
            foreach (string file in contents.Keys)
                if (!taken.Contains(file) && !file.StartsWith("pose/", StringComparison.Ordinal))
                    throw new InputException($"{source}: unknown block {file}");
        }

        /// <summary>The bytes of a block; letters of its shape met first are added to <paramref name="dims"/>.</summary>
        byte[] Take(string name, string shape, Dictionary<char, long> dims, out string type, params string[] types)
        {
            var line = lines.TryGetValue(name, out object value) ? value as Dictionary<string, object> : null;
            type = line != null && line.TryGetValue("dtype", out object code) ? code as string : null;
            if (type == null || Array.IndexOf(types, type) < 0)
                throw Wrong(name, $"is missing or not {string.Join(" or ", types)}");
            string[] letters = shape.Split(' ');
            if (!(line.TryGetValue("shape", out object list) && list is List<object> sizes) ||
                sizes.Count != letters.Length)
                throw Wrong(name, $"must have shape [{shape}]");
            long bytes = int.Parse(type.Substring(1)) / 8;
            for (int axis = 0; axis < letters.Length; axis++)
            {
                long size = sizes[axis] is double number && number >= 0 && number <= int.MaxValue ? (long)number : -1;
                if (size < 0 || size != (double)sizes[axis] || !Fits(letters[axis], size, dims))
                    throw Wrong(name, $"does not have shape [{shape}]");
                bytes *= size;
                if (bytes > Archive.MaxEntryBytes) throw Wrong(name, "is too large");
            }
            string file = $"{name}.{type}";
            if (!line.TryGetValue("file", out object stated) || !file.Equals(stated) ||
                !contents.TryGetValue(file, out byte[] content) || content.LongLength != bytes)
                throw Wrong(name, "is not as large as the manifest says");
            taken.Add(file);
            return content;
        }

        static bool Fits(string letter, long size, Dictionary<char, long> dims)
        {
            if (char.IsDigit(letter[0])) return size == letter[0] - '0';
            char key = letter[0];
            if (!dims.ContainsKey(key)) dims.Add(key, size);
            long lowest = key == 'M' || key == 'K' ? 0 : 1;
            return size == dims[key] && size >= lowest && size <= Limits[key];
        }

        static T[] As<T>(byte[] content, int size)
        {
            var values = new T[content.Length / size];
            Buffer.BlockCopy(content, 0, values, 0, content.Length);
            return values;
        }

        InputException Wrong(string name, string what) => new InputException($"{source}: block {name} {what}");

        /// <summary>IEEE half, as bits, to float; exact.</summary>
        public static float HalfToFloat(ushort bits)
        {
            int exponent = bits >> 10 & 31, fraction = bits & 1023;
            float size = exponent == 0 ? fraction * 5.9604644775390625e-8f
                : exponent == 31 ? (fraction != 0 ? float.NaN : float.PositiveInfinity)
                : (1024 + fraction) * HalfSteps[exponent];
            return (bits & 0x8000) != 0 ? -size : size;
        }

        /// <summary>The last place's worth at each exponent.</summary>
        static readonly float[] HalfSteps = MakeHalfSteps();

        static float[] MakeHalfSteps()
        {
            var steps = new float[31];
            for (int exponent = 0; exponent < 31; exponent++) steps[exponent] = (float)Math.Pow(2, exponent - 25);
            return steps;
        }
    }
}
